#pragma once
// What the tests of a VM beyond one run share: they are about demo-1, on a stand-in for QEMU.

#include <csignal>
#include <string>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {

/// What is kept of it.
inline const std::string kKept = "/var/lib/slicer/vms/demo-1";
inline Json kept() { return Json::parse(contents(kKept + "/vm.json"), nullptr, false); }

/// Of `list`; "none": it is not listed.
inline std::string state_of(const std::string& name) {
  const Json vm = Runner::vm(name);
  return vm.is_null() ? "none" : vm.value("state", "?");
}

inline void kill_and_wait(pid_t pid) {
  REQUIRE(kill(pid, SIGKILL) == 0);
  REQUIRE(eventually([&] { return !runs(pid); }));
}

}  // namespace slicer::test
