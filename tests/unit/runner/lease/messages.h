#pragma once
// Frames for the tests of runner/lease.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "runner/lease/dhcp.h"

namespace slicer::runner::test {

using Bytes = std::vector<uint8_t>;

inline void put(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }
inline Bytes ip_bytes(const std::string& text) {
  const addr::Ip ip = addr::parse_ip(text).value();
  const auto all = ip.bytes();
  return {all.begin(), all.begin() + static_cast<ptrdiff_t>(ip.size())};
}
inline Bytes mac_bytes(const std::string& text) {
  const addr::Mac mac = addr::parse_mac(text).value();
  return {mac.bytes.begin(), mac.bytes.end()};
}
inline Bytes word_bytes(uint32_t value) {
  return {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 8),
          static_cast<uint8_t>(value)};
}

inline constexpr const char* kGuestMac = "02:00:5e:00:53:01";
inline constexpr const char* kOtherMac = "02:00:5e:00:53:99";

struct DhcpText {
  runner::DhcpType type = runner::DhcpType::kAck;
  uint32_t xid = 0x1234;
  std::string mac = kGuestMac;
  std::string current = "0.0.0.0";
  std::string given = "0.0.0.0";
  std::vector<std::pair<uint8_t, Bytes>> options = {};
  Bytes server_name = {};
  Bytes file = {};
};

/// RFC 2131, figure 1.
inline Bytes dhcp_bytes(const DhcpText& text) {
  const bool reply = text.type == runner::DhcpType::kOffer || text.type == runner::DhcpType::kAck ||
                     text.type == runner::DhcpType::kNak;
  Bytes bytes = {static_cast<uint8_t>(reply ? 2 : 1), 1, 6, 0};
  put(bytes, word_bytes(text.xid));
  bytes.resize(12);
  put(bytes, ip_bytes(text.current));
  put(bytes, ip_bytes(text.given));
  bytes.resize(28);
  put(bytes, mac_bytes(text.mac));
  bytes.resize(44);
  put(bytes, text.server_name);
  bytes.resize(108);
  put(bytes, text.file);
  bytes.resize(236);
  put(bytes, {99, 130, 83, 99, 53, 1, static_cast<uint8_t>(text.type)});
  for (const auto& [code, value] : text.options) {
    put(bytes, {code, static_cast<uint8_t>(value.size())});
    put(bytes, value);
  }
  bytes.push_back(255);
  return bytes;
}

/// In UDP, IPv4 and Ethernet, with `source` as the frame's sender.
inline Bytes dhcp_frame(const DhcpText& text, const std::string& source, uint16_t port) {
  const Bytes payload = dhcp_bytes(text);
  const size_t udp = payload.size() + 8;
  const size_t total = udp + 20;
  Bytes frame(6, 0xff);
  put(frame, mac_bytes(source));
  put(frame, {0x08,
              0x00,
              0x45,
              0,
              static_cast<uint8_t>(total >> 8),
              static_cast<uint8_t>(total),
              0,
              0,
              0,
              0,
              64,
              17,
              0,
              0,
              0,
              0,
              0,
              0,
              255,
              255,
              255,
              255});
  const auto from = static_cast<uint8_t>(port == 67 ? 68 : 67);
  put(frame, {0, from, 0, static_cast<uint8_t>(port), static_cast<uint8_t>(udp >> 8), static_cast<uint8_t>(udp), 0, 0});
  put(frame, payload);
  return frame;
}

/// A neighbour discovery message; an empty target: none.
inline Bytes neighbour_frame(uint8_t type, const std::string& mac, const std::string& source,
                             const std::string& target) {
  Bytes body = {type, 0, 0, 0, 0, 0, 0, 0};
  if (!target.empty()) put(body, ip_bytes(target));
  Bytes frame = {0x33, 0x33, 0, 0, 0, 1};
  put(frame, mac_bytes(mac));
  put(frame, {0x86, 0xdd, 0x60, 0, 0, 0, 0, static_cast<uint8_t>(body.size()), 58, 255});
  put(frame, ip_bytes(source));
  put(frame, ip_bytes("ff02::1"));
  put(frame, body);
  return frame;
}

}  // namespace slicer::runner::test
