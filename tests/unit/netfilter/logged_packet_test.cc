// lib/netfilter/logged_packet: what nfnetlink_log sends.

#include "lib/netfilter/logged_packet.h"

#include <doctest/doctest.h>

#include <string_view>
#include <vector>

#include "tests/unit/netfilter/recorded_packets.h"

using namespace slicer;
using namespace slicer::netfilter;
using namespace slicer::test;

namespace {

using Bytes = std::vector<uint8_t>;

Bytes bytes_of(std::string_view hex) {
  Bytes bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}

LoggedPacket parse(std::string_view hex) { return parse_logged_packet(bytes_of(hex)).value(); }

void add_attribute(Bytes& message, uint16_t type, const Bytes& value) {
  const size_t length = value.size() + 4;
  for (const size_t byte : {length % 256, length / 256, size_t{type} % 256, size_t{type} / 256})
    message.push_back(static_cast<uint8_t>(byte));
  message.insert(message.end(), value.begin(), value.end());
  message.resize((message.size() + 3) / 4 * 4);
}

/// A message with the packet as payload, of the inet family.
LoggedPacket parse_payload(const Bytes& packet) {
  Bytes message = bytes_of(
      "00000000000400000000000000000000"
      "02000053");
  const bool v6 = packet[0] >> 4 == 6;
  add_attribute(message, 1, v6 ? Bytes{0x86, 0xdd, 1, 0} : Bytes{0x08, 0x00, 1, 0});
  add_attribute(message, 9, packet);
  message[0] = static_cast<uint8_t>(message.size() % 256);
  message[1] = static_cast<uint8_t>(message.size() / 256);
  return parse_logged_packet(message).value();
}

}  // namespace

TEST_CASE("parse_logged_packet: what Linux sends of TCP, UDP and ICMP, IPv4 and IPv6") {
  const LoggedPacket tcp = parse(kTcp);
  CHECK(tcp.prefix == "slicer:demo ");
  CHECK(tcp.source_mac->text() == "02:00:5e:00:53:02");
  CHECK(packet_text(tcp) == "tcp 192.0.2.2:4711 -> 192.0.2.1:22");
  CHECK(packet_text(parse(kUdp6)) == "udp [2001:db8::2]:5000 -> [2001:db8::1]:53");
  CHECK(packet_text(parse(kPing)) == "icmp type 8 192.0.2.2 -> 192.0.2.1");
}

TEST_CASE("parse_logged_packet: hooks of a device, with and without the Ethernet header") {
  const LoggedPacket in = parse(kIngress);
  CHECK(in.source_mac->text() == "02:00:5e:00:53:02");
  CHECK(packet_text(in).ends_with(" -> 192.0.2.77:53"));
  const LoggedPacket out = parse(kEgress);
  CHECK(out.source_mac->text() == "02:00:5e:00:53:01");
  CHECK(packet_text(out).ends_with(" -> 192.0.2.78:53"));
}

TEST_CASE("parse_logged_packet: fragments have no ports, options and extension headers are passed over") {
  const Bytes addresses = bytes_of("c0000202c0000201");
  Bytes fragment = bytes_of(
      "45000020000020ff4011"
      "0000");
  fragment.insert(fragment.end(), addresses.begin(), addresses.end());
  fragment.resize(32, 0x11);
  CHECK(packet_text(parse_payload(fragment)) == "udp fragment 192.0.2.2 -> 192.0.2.1");
  Bytes options = bytes_of(
      "46000020000000004006"
      "0000");
  options.insert(options.end(), addresses.begin(), addresses.end());
  for (const uint8_t byte : bytes_of("01010100"
                                     "00500051"))
    options.push_back(byte);
  CHECK(packet_text(parse_payload(options)) == "tcp 192.0.2.2:80 -> 192.0.2.1:81");
  const std::string ends =
      "20010db8000000000000000000000002"
      "20010db8000000000000000000000001";
  CHECK(packet_text(parse_payload(bytes_of("6000000000180040" + ends +
                                           "2b00000000000000"
                                           "1100000000000000"
                                           "00350036"))) == "udp [2001:db8::2]:53 -> [2001:db8::1]:54");
  CHECK(packet_text(parse_payload(bytes_of("6000000000082c40" + ends +
                                           "1100ff0800000001"
                                           "00350036"))) == "udp fragment 2001:db8::2 -> 2001:db8::1");
  CHECK(packet_text(parse_payload(bytes_of("6000000000082f40" + ends))) == "protocol 47 2001:db8::2 -> 2001:db8::1");
}

TEST_CASE("parse_logged_packet: what is cut off stays empty, what is no packet is an error") {
  const Bytes whole = bytes_of(kTcp);
  for (size_t size = 0; size < whole.size(); ++size)
    CHECK_FALSE(parse_logged_packet(std::span(whole).first(size)).has_value());
  Bytes other = whole;
  other[5] = 5;  // another subsystem
  CHECK_FALSE(parse_logged_packet(other).has_value());
  Bytes packet = bytes_of(
      "45000020000000004006"
      "0000c0000202c0000201"
      "0050");
  const LoggedPacket cut = parse_payload(packet);
  CHECK(packet_text(cut) == "tcp 192.0.2.2 -> 192.0.2.1");
  packet.resize(19);
  CHECK(packet_text(parse_payload(packet)) == "ethertype 0x0800");
}
