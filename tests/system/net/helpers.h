#pragma once
// For the tests of lib/net against the real kernel.

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <utility>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"
#include "tests/system/fixture/process.h"

namespace slicer::test {

/// The value, or the end of the case with the error's message.
template <class T>
T got(Result<T> result) {
  if (!result) FAIL(result.error().message);
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// The error of what must fail.
template <class T>
Error refused(const Result<T>& result) {
  if (result) FAIL("it worked");
  return result.error();
}

/// A port forwards when the kernel has worked on its carrier, a moment after its TAP was opened.
inline void wait_for_forwarding(std::initializer_list<const char*> ports) {
  for (const std::string port : ports)
    REQUIRE(eventually([&] { return must("cat /sys/class/net/" + port + "/brport/state") == "3\n"; }));
}

inline addr::Mac mac_of(const char* text) { return addr::parse_mac(text).value(); }
inline addr::Ip ip_of(const char* text) { return addr::parse_ip(text).value(); }
inline addr::Cidr cidr_of(const char* text) { return addr::parse_cidr(text).value(); }

}  // namespace slicer::test
