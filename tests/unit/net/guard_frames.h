#pragma once
// Frames that a guest may and may not send, for the guard's program in an interpreter (unit) and in the kernel
// (system).

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "lib/net/tc_guard.h"

namespace slicer::test {

using FrameBytes = std::vector<uint8_t>;

struct GuardCase {
  std::string what;
  FrameBytes frame;
  bool passes;
};

inline net::GuardSpec guarded_guest() {
  return {.mac = addr::parse_mac("02:00:5e:00:53:01").value(),
          .sources = {addr::parse_ip("192.0.2.7").value(), addr::parse_ip("192.0.2.8").value(),
                      addr::parse_ip("2001:db8::7").value()}};
}

/// Appends text addresses and numbers.
class FrameWriter {
 public:
  FrameWriter& raw(std::initializer_list<int> bytes) {
    for (const int byte : bytes) frame_.push_back(static_cast<uint8_t>(byte));
    return *this;
  }
  FrameWriter& mac(const char* text) {
    const auto bytes = addr::parse_mac(text);  // no group addresses: those come by raw()
    frame_.insert(frame_.end(), bytes->bytes.begin(), bytes->bytes.end());
    return *this;
  }
  FrameWriter& ip(const char* text) {
    const auto parsed = addr::parse_ip(text).value();
    const auto bytes = parsed.bytes();
    frame_.insert(frame_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(parsed.size()));
    return *this;
  }
  FrameWriter& half(int value) { return raw({value >> 8, value & 255}); }
  FrameWriter& zeros(size_t count) {
    frame_.insert(frame_.end(), count, 0);
    return *this;
  }
  /// To all, from `source`.
  FrameWriter& ether(const char* source, int type) {
    return raw({255, 255, 255, 255, 255, 255}).mac(source).half(type);
  }
  [[nodiscard]] FrameBytes done() const { return frame_; }

 private:
  FrameBytes frame_;
};

inline constexpr const char* kOwnMac = "02:00:5e:00:53:01";
inline constexpr const char* kOtherMac = "02:00:5e:00:53:02";
inline constexpr const char* kOwnLinkLocal = "fe80::5eff:fe00:5301";
inline constexpr const char* kOtherLinkLocal = "fe80::5eff:fe00:5302";

struct ArpFields {
  const char* sender_mac = kOwnMac;
  const char* sender_ip = "192.0.2.7";
  int operation = 1;
  int hardware = 1;
};
inline FrameBytes arp_frame(const ArpFields& f) {
  return FrameWriter()
      .ether(kOwnMac, 0x0806)
      .half(f.hardware)
      .half(0x0800)
      .half(0x0604)
      .half(f.operation)
      .mac(f.sender_mac)
      .ip(f.sender_ip)
      .zeros(6)
      .ip("192.0.2.1")
      .zeros(18)
      .done();
}

inline FrameBytes ipv4_frame(const char* source, const char* mac = kOwnMac) {
  return FrameWriter()
      .ether(mac, 0x0800)
      .raw({0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0})
      .ip(source)
      .ip("192.0.2.1")
      .half(1234)
      .half(53)
      .half(8)
      .half(0)
      .zeros(18)
      .done();
}

struct DhcpFields {
  const char* source = "0.0.0.0";
  int source_port = 68;
  int target_port = 67;
  int fragment = 0;
  int protocol = 17;
  bool options = false;  ///< 4 bytes of IP options
};
inline FrameBytes dhcp_frame(const DhcpFields& f) {
  FrameWriter w;
  w.ether(kOwnMac, 0x0800)
      .raw({f.options ? 0x46 : 0x45, 0, 0, f.options ? 32 : 28, 0, 1})
      .half(f.fragment)
      .raw({64, f.protocol, 0, 0})
      .ip(f.source)
      .ip("255.255.255.255");
  if (f.options) w.raw({1, 1, 1, 0});
  return w.half(f.source_port).half(f.target_port).half(8).half(0).zeros(18).done();
}

/// An IPv6 packet up to its next header.
inline FrameWriter ipv6_frame(const char* source, int next_header, int length, const char* mac = kOwnMac) {
  FrameWriter w;
  w.ether(mac, 0x86dd).raw({0x60, 0, 0, 0}).half(length).raw({next_header, 255}).ip(source).ip("ff02::1");
  return w;
}
/// A neighbour message: `type`, `target`, and an option with a MAC when `option` is not 0.
struct NdFields {
  const char* source = "2001:db8::7";
  int type = 135;
  const char* target = "2001:db8::1";
  int option = 0;
  const char* mac = kOwnMac;
};
inline FrameBytes nd_frame(const NdFields& f) {
  FrameWriter w = ipv6_frame(f.source, 58, f.option != 0 ? 32 : 24);
  w.raw({f.type, 0, 0, 0, 0, 0, 0, 0}).ip(f.target);
  if (f.option != 0) w.raw({f.option, 1}).mac(f.mac);
  return w.done();
}
inline FrameBytes cut(FrameBytes frame, size_t length) {
  frame.resize(length);
  return frame;
}

inline std::vector<GuardCase> arp_cases() {
  return {
      {"ARP from own address", arp_frame({}), true},
      {"ARP from second address", arp_frame({.sender_ip = "192.0.2.8"}), true},
      {"ARP reply from own address", arp_frame({.operation = 2}), true},
      {"ARP probe", arp_frame({.sender_ip = "0.0.0.0"}), true},
      {"ARP reply from 0.0.0.0", arp_frame({.sender_ip = "0.0.0.0", .operation = 2}), false},
      {"ARP for a neighbour's address", arp_frame({.sender_ip = "192.0.2.9"}), false},
      {"ARP reply for the gateway's address", arp_frame({.sender_ip = "192.0.2.1", .operation = 2}), false},
      {"ARP with another sender MAC", arp_frame({.sender_mac = kOtherMac}), false},
      {"ARP of other hardware", arp_frame({.hardware = 6}), false},
      {"ARP cut before its sender's address", cut(arp_frame({.sender_ip = "192.0.2.1"}), 30), false},
  };
}

inline std::vector<GuardCase> ipv4_cases() {
  return {
      {"IPv4 from own address", ipv4_frame("192.0.2.7"), true},
      {"IPv4 from second address", ipv4_frame("192.0.2.8"), true},
      {"IPv4 from a neighbour's address", ipv4_frame("192.0.2.9"), false},
      {"IPv4 from 0.0.0.0 that is no DHCP", ipv4_frame("0.0.0.0"), false},
      {"IPv4 from another MAC", ipv4_frame("192.0.2.7", kOtherMac), false},
      {"IPv4 cut before its source", cut(ipv4_frame("192.0.2.9"), 24), false},
      {"DHCP discover", dhcp_frame({}), true},
      {"DHCP discover behind IP options", dhcp_frame({.options = true}), true},
      {"DHCP to another port", dhcp_frame({.target_port = 53}), false},
      {"DHCP from another port", dhcp_frame({.source_port = 67}), false},
      {"DHCP as TCP", dhcp_frame({.protocol = 6}), false},
      {"DHCP as a fragment", dhcp_frame({.fragment = 0x2000}), false},
      {"DHCP as a later fragment", dhcp_frame({.fragment = 0x0010}), false},
      {"DHCP request from own address", dhcp_frame({.source = "192.0.2.7"}), true},
      {"DHCP server's answer", dhcp_frame({.source = "192.0.2.7", .source_port = 67, .target_port = 68}), false},
      {"DHCP server's answer from another port",
       dhcp_frame({.source = "192.0.2.7", .source_port = 4711, .target_port = 68}), false},
      {"DHCP server's answer behind IP options",
       dhcp_frame({.source = "192.0.2.7", .source_port = 67, .target_port = 68, .options = true}), false},
      {"DHCP server's answer in a first fragment",
       dhcp_frame({.source = "192.0.2.7", .source_port = 67, .target_port = 68, .fragment = 0x2000}), false},
      {"bytes of a later fragment that look like DHCP",
       dhcp_frame({.source = "192.0.2.7", .source_port = 67, .target_port = 68, .fragment = 0x0010}), true},
      {"TCP to port 68", dhcp_frame({.source = "192.0.2.7", .target_port = 68, .protocol = 6}), true},
      {"VLAN's ethertype inside", FrameWriter().ether(kOwnMac, 0x88cc).zeros(46).done(), false},
      {"an LLC frame (STP)", FrameWriter().ether(kOwnMac, 38).raw({0x42, 0x42, 3}).zeros(43).done(), false},
  };
}

inline std::vector<GuardCase> ipv6_cases() {
  const auto udp = [](const char* source, const char* mac) {
    return ipv6_frame(source, 17, 8, mac).half(1234).half(53).half(8).half(0).done();
  };
  return {
      {"IPv6 from own address", udp("2001:db8::7", kOwnMac), true},
      {"IPv6 from own link-local", udp(kOwnLinkLocal, kOwnMac), true},
      {"IPv6 from a neighbour's address", udp("2001:db8::8", kOwnMac), false},
      {"IPv6 from a neighbour's link-local", udp(kOtherLinkLocal, kOwnMac), false},
      {"IPv6 from ::", udp("::", kOwnMac), false},
      {"IPv6 from another MAC", udp("2001:db8::7", kOtherMac), false},
      {"IPv6 cut before its source", cut(udp("2001:db8::8", kOwnMac), 30), false},
      {"echo request", ipv6_frame("2001:db8::7", 58, 8).raw({128, 0, 0, 0, 0, 1, 0, 1}).done(), true},
      {"MLD report from ::",
       ipv6_frame("::", 0, 36)
           .raw({58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 1})
           .raw({4, 0, 0, 0})
           .ip("ff02::1:ff00:7")
           .done(),
       true},
      {"MLD report from own link-local",
       ipv6_frame(kOwnLinkLocal, 0, 36)
           .raw({58, 0, 5, 2, 0, 0, 1, 0, 143, 0, 0, 0, 0, 0, 0, 1})
           .raw({4, 0, 0, 0})
           .ip("ff02::1:ff00:7")
           .done(),
       true},
      {"neighbour solicitation behind an option from ::",
       ipv6_frame("::", 0, 32).raw({58, 0, 5, 2, 0, 0, 1, 0, 135, 0, 0, 0, 0, 0, 0, 0}).ip("2001:db8::7").done(),
       false},
  };
}

inline std::vector<GuardCase> nd_cases() {
  return {
      {"solicitation of a neighbour", nd_frame({.option = 1}), true},
      {"solicitation from own link-local", nd_frame({.source = kOwnLinkLocal, .option = 1}), true},
      {"solicitation with another's MAC", nd_frame({.option = 1, .mac = kOtherMac}), false},
      {"DAD of own address", nd_frame({.source = "::", .target = "2001:db8::7"}), true},
      {"DAD of own link-local", nd_frame({.source = "::", .target = kOwnLinkLocal}), true},
      {"DAD of a neighbour's address", nd_frame({.source = "::", .target = "2001:db8::8"}), false},
      {"advertisement of own address", nd_frame({.type = 136, .target = "2001:db8::7", .option = 2}), true},
      {"advertisement of own link-local", nd_frame({.type = 136, .target = kOwnLinkLocal, .option = 2}), true},
      {"advertisement of the gateway", nd_frame({.type = 136, .target = "2001:db8::1", .option = 2}), false},
      {"advertisement with another's MAC",
       nd_frame({.type = 136, .target = "2001:db8::7", .option = 2, .mac = kOtherMac}), false},
      {"advertisement from ::", nd_frame({.source = "::", .type = 136, .target = "2001:db8::7"}), false},
      {"advertisement cut before its target", cut(nd_frame({.type = 136, .target = "2001:db8::1"}), 70), false},
      {"router solicitation", ipv6_frame(kOwnLinkLocal, 58, 8).raw({133, 0, 0, 0, 0, 0, 0, 0}).done(), true},
      {"router solicitation from ::", ipv6_frame("::", 58, 8).raw({133, 0, 0, 0, 0, 0, 0, 0}).done(), true},
      {"router advertisement", ipv6_frame(kOwnLinkLocal, 58, 16).raw({134, 0, 0, 0}).zeros(12).done(), false},
      {"redirect", nd_frame({.source = kOwnLinkLocal, .type = 137}), false},
  };
}

inline std::vector<GuardCase> hidden_cases() {
  // A neighbour advertisement of the gateway behind extension headers.
  const auto hidden = [](std::initializer_list<int> headers, int first) {
    return ipv6_frame("2001:db8::7", first, static_cast<int>(headers.size()) + 24)
        .raw(headers)
        .raw({136, 0, 0, 0, 0, 0, 0, 0})
        .ip("2001:db8::1")
        .done();
  };
  const auto udp = [](std::initializer_list<int> headers, int first, int port = 53) {
    return ipv6_frame("2001:db8::7", first, static_cast<int>(headers.size()) + 8)
        .raw(headers)
        .half(1234)
        .half(port)
        .half(8)
        .half(0)
        .done();
  };
  return {
      {"advertisement behind hop-by-hop", hidden({58, 0, 1, 4, 0, 0, 0, 0}, 0), false},
      {"advertisement behind destination options", hidden({58, 0, 1, 4, 0, 0, 0, 0}, 60), false},
      {"advertisement behind a long option", hidden({58, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 60), false},
      {"advertisement in a first fragment", hidden({58, 0, 0, 1, 0, 0, 0, 7}, 44), false},
      {"advertisement behind two headers", hidden({60, 0, 1, 4, 0, 0, 0, 0, 58, 0, 1, 4, 0, 0, 0, 0}, 0), false},
      {"advertisement behind five headers",
       hidden({60, 0, 1, 4, 0,  0, 0, 0, 60, 0, 1, 4, 0,  0, 0, 0, 60, 0, 1, 4,
               0,  0, 0, 0, 60, 0, 1, 4, 0,  0, 0, 0, 58, 0, 1, 4, 0,  0, 0, 0},
              0),
       false},
      {"UDP behind destination options", udp({17, 0, 1, 4, 0, 0, 0, 0}, 60), true},
      {"DHCPv6 server's answer", udp({}, 17, 546), false},
      {"DHCPv6 request", udp({}, 17, 547), true},
      {"DHCPv6 server's answer behind an option", udp({17, 0, 1, 4, 0, 0, 0, 0}, 60, 546), false},
      {"DHCPv6 server's answer behind two options", udp({60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0}, 0, 546),
       false},
      {"DHCPv6 server's answer in a first fragment", udp({17, 0, 0, 1, 0, 0, 0, 7}, 44, 546), false},
      {"UDP in a first fragment", udp({17, 0, 0, 1, 0, 0, 0, 7}, 44), true},
      {"a later fragment", udp({58, 0, 0, 8, 0, 0, 0, 7}, 44), true},
      {"UDP behind authentication", udp({17, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 51),
       true},
      {"a header cut in half", cut(udp({17, 0, 1, 4, 0, 0, 0, 0}, 60), 58), false},
      {"echo behind hop-by-hop",
       ipv6_frame("2001:db8::7", 0, 16).raw({58, 0, 1, 4, 0, 0, 0, 0, 128, 0, 0, 0, 0, 1, 0, 1}).done(), true},
  };
}

inline std::vector<GuardCase> guard_cases() {
  std::vector<GuardCase> all;
  for (const auto& part : {arp_cases(), ipv4_cases(), ipv6_cases(), nd_cases(), hidden_cases()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

}  // namespace slicer::test
