#pragma once
// The binaries that the suite is about. A new plugin is one more line of the table in subjects.cc.

#include <span>
#include <string>

namespace slicer::test::conformance {

struct Subject {
  const char* name = "";
  /// The same binary in another place or with another key, as the page says it; empty: what it is mostly used for.
  const char* variant = "";
  /// JSON: what its configuration has beside cniVersion, name and type.
  const char* keys = "{}";
  /// What it finds on the host: lines of `ip -batch`.
  const char* host = "";
  /// The plugin before it in its chain, another subject's label; empty: it stands first.
  const char* behind = "";
  /// The link that it makes in the namespace, for a CNI_IFNAME of tap0; empty: none.
  const char* link = "tap0";
  /// A command that fails where the kernel has not what it takes: not tried there. Empty: always.
  const char* needs = "";
  /// It talks to firewalld, which takes a second to start: one test tries all requirements on it.
  bool firewalld = false;
  /// An address that an IPAM plugin may give it; empty: it calls none.
  const char* lease = "";
};

/// CNI_IFNAME itself; slicer-tap behind another plugin makes another link.
inline bool makes_interface(const Subject& subject) { return std::string(subject.link) == "tap0"; }
inline bool makes_link(const Subject& subject) { return *subject.link != '\0'; }

std::span<const Subject> subjects();
/// Whether this machine has what it needs.
bool can_be_tried(const Subject& subject);
/// Name and variant.
std::string label(const Subject& subject);
/// Gives up when there is none of the label.
const Subject& subject(const std::string& label);

}  // namespace slicer::test::conformance
