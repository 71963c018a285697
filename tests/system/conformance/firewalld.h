#pragma once
// A real firewalld for the plugin that talks to one: what it is told is all that the suite looks at, so one serves all
// the hosts of a test process. What it does with packets is the harness's (tests/harness/firewalld_test.go).

#include <string>

namespace slicer::test::conformance {

/// Debian's, unpacked by scripts/test: SLICER_FIREWALLD_DIR, or build/firewalld.
bool has_firewalld();
/// The address of its bus. Started by the first call, in namespaces of its own; ends with the process.
const std::string& firewalld_bus();
/// Whether an address is a source of zone "trusted".
bool is_trusted_source(const std::string& source);
/// Takes a source out of zone "trusted" behind the plugin's back.
void remove_trusted_source(const std::string& source);

}  // namespace slicer::test::conformance
