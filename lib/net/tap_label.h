#pragma once
// A TAP's SELinux label: that of the process which gives it its name by TUNSETIFF (security/selinux/hooks.c,
// selinux_tun_dev_alloc_security()). So a process of the label is started for that one call.

#include <optional>
#include <string>

#include "lib/base/result.h"

namespace slicer::net {

/// Whether it reads "user:role:type" or "user:role:type:range", of what the kernel takes. Pure.
/// Error: kInvalidConfig with what is wrong.
Result<void> check_label_shape(const std::string& label);

/// Whether a process of this host can be started with the label; what a policy lets that one do is not known.
/// Errors: kUnsupportedField (SELinux is off), kInvalidConfig (the policy does not know the label), kSystem.
Result<void> check_label(const std::string& label);

/// TUNSETIFF on `tun` (an open /dev/net/tun) by a process of `label`: this program once more, whose main() asks
/// name_tap_main() first. The descriptor stays the caller's; killed in between, no TAP is left.
/// @return TUNSETIFF's errno, 0 when the TAP is there. Errors: as check_label(), and kSystem where the policy refuses
/// such a process the start or what it needs.
Result<int> name_tap_as(const std::string& label, int tun, const std::string& name, int flags);

/// The other end of that: the exit status when the arguments are name_tap_as()'s, else none.
std::optional<int> name_tap_main(int argc, char** argv);

}  // namespace slicer::net
