#pragma once
// What `vm port-forward` is told.

#include <cstdint>
#include <string>

#include "lib/addr/ip.h"

namespace slicer::runner {

/// One port of this machine that leads to one of the guest.
struct ForwardSpec {
  addr::Ip listen = addr::Ip(addr::Family::kIpv4, 0x7f000001);  ///< 127.0.0.1
  uint16_t listen_port = 0;                                     ///< 0: the kernel chooses one
  uint16_t guest_port = 0;
};

/// "2222:22", "2222:127.0.0.1:22", "0.0.0.0:2222:22", "[::1]:2222:127.0.0.1:22": [ADDRESS:]PORT:[GUEST:]PORT, where
/// GUEST is the guest itself (127.0.0.1, ::1 or localhost). Error: kInvalidConfig with the text.
Result<ForwardSpec> parse_forward(const std::string& text);

/// "127.0.0.1:2222", "[::1]:2222"
std::string endpoint_text(const addr::Ip& ip, uint16_t port);

}  // namespace slicer::runner
