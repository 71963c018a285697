#include "runner/lease/dhcp.h"

#include <doctest/doctest.h>

#include "runner/lease/guest_frame.h"
#include "tests/unit/runner/lease/messages.h"

namespace slicer::runner {
namespace {

using namespace test;

DhcpText full_ack() {
  return {.given = "192.0.2.50",
          .options = {{1, ip_bytes("255.255.255.0")},
                      {3, ip_bytes("192.0.2.1")},
                      {51, word_bytes(3600)},
                      {54, ip_bytes("192.0.2.2")}}};
}

}  // namespace

TEST_CASE("parse_dhcp: an ACK with its options") {
  const auto message = parse_dhcp(dhcp_bytes(full_ack()));
  REQUIRE(message);
  CHECK(message->type == DhcpType::kAck);
  CHECK(message->xid == 0x1234);
  CHECK(message->client.text() == kGuestMac);
  CHECK(message->given.text() == "192.0.2.50");
  CHECK(message->prefix == 24U);
  CHECK(message->router.value().text() == "192.0.2.1");
  CHECK(message->server.value().text() == "192.0.2.2");
  CHECK(message->lease_seconds == 3600U);
  CHECK_FALSE(message->is_from_client());
}

TEST_CASE("parse_dhcp: every message cut short at any byte is none, or the same without the end mark") {
  const Bytes whole = dhcp_bytes(full_ack());
  for (size_t size = 0; size + 1 < whole.size(); ++size) {
    const Bytes cut(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(size));
    const auto message = parse_dhcp(cut);
    CAPTURE(size);
    if (message) CHECK(message->xid == 0x1234);
    if (size < 243) CHECK_FALSE(message);  // before the end of the type's option
  }
}

TEST_CASE("parse_dhcp: options that run over the end, in the field and in file and sname") {
  Bytes overrun = dhcp_bytes(full_ack());
  overrun.back() = 51;
  put(overrun, {200, 1});
  CHECK_FALSE(parse_dhcp(overrun));
  Bytes no_length = dhcp_bytes(full_ack());
  no_length.back() = 51;
  CHECK_FALSE(parse_dhcp(no_length));
  DhcpText overloaded = full_ack();
  overloaded.options.push_back({52, {1}});
  overloaded.file = Bytes(126, 0);
  put(overloaded.file, {51, 4});  // the last two of 128 bytes
  CHECK_FALSE(parse_dhcp(dhcp_bytes(overloaded)));
}

TEST_CASE("parse_dhcp: options in file and sname count when option 52 says so") {
  DhcpText text{.given = "192.0.2.50", .options = {{52, {3}}}};
  text.file = {51, 4, 0, 0, 0, 60, 255};
  text.server_name = {1, 4, 255, 255, 255, 128, 255};
  const auto message = parse_dhcp(dhcp_bytes(text));
  REQUIRE(message);
  CHECK(message->lease_seconds == 60U);
  CHECK(message->prefix == 25U);
  text.options = {};
  CHECK_FALSE(parse_dhcp(dhcp_bytes(text)).value().lease_seconds);
}

TEST_CASE("parse_dhcp: options of a wrong length or value are passed over") {
  DhcpText text = full_ack();
  text.options = {{1, {255, 255, 0}}, {3, {192, 0, 2}}, {51, {1}}, {54, {}}, {50, Bytes(255, 1)}};
  const auto message = parse_dhcp(dhcp_bytes(text));
  REQUIRE(message);
  CHECK_FALSE(message->prefix);
  CHECK_FALSE(message->router);
  CHECK_FALSE(message->lease_seconds);
  CHECK_FALSE(message->server);
  CHECK_FALSE(message->requested);
  text.options = {{1, ip_bytes("255.0.255.0")}};
  CHECK_FALSE(parse_dhcp(dhcp_bytes(text)).value().prefix);
}

TEST_CASE("parse_dhcp: what is no DHCP message") {
  const Bytes good = dhcp_bytes(full_ack());
  for (const auto& [at, value] :
       {std::pair<size_t, uint8_t>{0, 1}, {1, 6}, {2, 16}, {236, 0}, {242, 0}, {242, 9}, {242, 1}}) {
    Bytes bad = good;
    bad[at] = value;
    CAPTURE(at);
    CHECK_FALSE(parse_dhcp(bad));
  }
}

TEST_CASE("parse_guest_frame: DHCP by its headers") {
  const Bytes good = dhcp_frame(full_ack(), kOtherMac, 68);
  REQUIRE(parse_guest_frame(good));
  CHECK(parse_guest_frame(good)->source.text() == kOtherMac);
  CHECK(parse_guest_frame(good)->dhcp.value().given.text() == "192.0.2.50");
  // Another version, header length, total length, a fragment, not UDP, another port, UDP longer than its packet.
  for (const auto& [at, value] : {std::pair<size_t, uint8_t>{14, 0x65},
                                  {14, 0x44},
                                  {16, 0xff},
                                  {17, 0x1b},
                                  {20, 0x20},
                                  {21, 0x01},
                                  {23, 6},
                                  {37, 69},
                                  {38, 0xff},
                                  {39, 7},
                                  {13, 6}}) {
    Bytes bad = good;
    bad[at] = value;
    if (at == 17) bad[16] = 0;
    if (at == 39) bad[38] = 0;
    CAPTURE(at);
    CHECK_FALSE(parse_guest_frame(bad));
  }
  for (size_t size = 0; size < good.size(); ++size) CHECK_FALSE(parse_guest_frame(std::span(good).first(size)));
}

TEST_CASE("parse_guest_frame: neighbour discovery") {
  const Bytes probe = neighbour_frame(135, kGuestMac, "::", "2001:db8::7");
  REQUIRE(parse_guest_frame(probe));
  const NeighbourNews news = parse_guest_frame(probe)->neighbour.value();
  CHECK_FALSE(news.is_advertisement);
  CHECK_FALSE(news.source);
  CHECK(news.target.value().text() == "2001:db8::7");
  CHECK(parse_guest_frame(neighbour_frame(133, kGuestMac, "fe80::1", "")).value().neighbour.value().source);
  CHECK_FALSE(parse_guest_frame(neighbour_frame(134, kGuestMac, "fe80::1", "")));
  CHECK_FALSE(parse_guest_frame(neighbour_frame(128, kGuestMac, "fe80::1", "2001:db8::7")));
  for (size_t size = 0; size < probe.size(); ++size) CHECK_FALSE(parse_guest_frame(std::span(probe).first(size)));
  Bytes routed = probe;
  routed[21] = 64;
  CHECK_FALSE(parse_guest_frame(routed));
}

}  // namespace slicer::runner
