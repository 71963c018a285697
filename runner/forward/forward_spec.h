#pragma once
// What `vm port-forward` is told.

#include <cstdint>
#include <string>

#include "lib/addr/ip.h"
#include "lib/cni/json.h"

namespace slicer::runner {

enum class Transport : uint8_t { kTcp, kUdp };

/// One port or socket of this machine that leads to a port of the guest, or to one that the guest reaches.
struct ForwardSpec {
  addr::Ip listen = addr::Ip(addr::Family::kIpv4, 0x7f000001);  ///< 127.0.0.1
  uint16_t listen_port = 0;                                     ///< 0: the kernel chooses one
  std::string listen_path = {};                                 ///< a unix socket in place of both
  std::string target = {};             ///< a host as the guest knows it, an address or a name; empty: the guest itself
  std::string loopback = "127.0.0.1";  ///< by what name SSH finds the guest itself: as it was written
  uint16_t target_port = 0;
  Transport transport = Transport::kTcp;
};

/// "2222:22", "2222:127.0.0.1:22", "0.0.0.0:2222:22", "[::1]:2222:127.0.0.1:22", "8080:192.0.2.7:80", "2222:53/udp",
/// "/run/web.sock:80": [ADDRESS:]PORT:[HOST:]PORT[/udp] or PATH:[HOST:]PORT. HOST 127.0.0.1, ::1 or localhost is the
/// guest itself. Error: kInvalidConfig with the text.
Result<ForwardSpec> parse_forward(const std::string& text);

/// "127.0.0.1:2222", "[::1]:2222"
std::string endpoint_text(const addr::Ip& ip, uint16_t port);
/// "127.0.0.1:2222", "127.0.0.1:2222/udp", "/run/web.sock"; `port` is the one that the kernel chose.
std::string listen_text(const ForwardSpec& spec, uint16_t port);
/// What `ssh -W` takes: "127.0.0.1:22", "[::1]:22", "192.0.2.7:80".
std::string ssh_target(const ForwardSpec& spec);
/// For programs: {protocol, address, port, host, guestPort}, of a unix socket `path` in place of address and port.
cni::Json forward_json(const ForwardSpec& spec, uint16_t port);
/// "port 22 of demo-1", "192.0.2.7:80 by demo-1"
std::string target_text(const ForwardSpec& spec, const std::string& vm);

}  // namespace slicer::runner
