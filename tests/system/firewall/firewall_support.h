#pragma once
// What the tests of slicer-firewall and lib/netfilter share.

#include <string>
#include <vector>

#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"

namespace slicer::test::firewall {

/// lib/netfilter as a program (netfilter_driver.cc), in the test's namespace.
inline std::string driver() { return bin_dir() + "/../tests/bin/netfilter_driver"; }
inline Outcome drive(const std::string& line) { return run(words(driver() + " " + line)); }
inline void must_drive(const std::string& line) { (void)must(driver() + " " + line); }

/// The whole ruleset without counters.
inline std::string ruleset() { return must("nft -s list ruleset"); }

/// The programs that look at the result, or what is missing.
inline std::string missing_tool() {
  for (const char* tool : {"nft", "iptables-nft", "ip6tables-nft"})
    if (run({tool, "--version"}).exit_code == 127) return std::string("needs the program ") + tool;
  return {};
}

/// Everything of a dual-stack network on br0.
inline constexpr const char* kAll =
    "net1 masquerade=192.0.2.1/24 masquerade=2001:db8::1/64 list=br0 bridge=br0 forward=192.0.2.0/24 "
    "forward=2001:db8::/64";

}  // namespace slicer::test::firewall
