#pragma once
// The binaries that the suite is about. A new plugin is one more line of the table in subjects.cc.

#include <span>

namespace slicer::test::conformance {

struct Subject {
  const char* name = "";
  /// JSON: what its configuration has beside cniVersion, name and type.
  const char* keys = "{}";
  /// What it finds on the host: lines of `ip -batch`.
  const char* host = "";
  /// The plugin before it in its chain, another subject's name; empty: it stands first.
  const char* behind = "";
  /// It makes the interface CNI_IFNAME.
  bool makes_interface = true;
  /// An address that an IPAM plugin may give it; empty: it calls none.
  const char* lease = "";
};

std::span<const Subject> subjects();
/// Gives up when there is none of the name.
const Subject& subject(const char* name);

}  // namespace slicer::test::conformance
