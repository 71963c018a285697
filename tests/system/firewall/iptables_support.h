#pragma once
// Legacy tables, as seen by the old iptables programs.

#include <map>
#include <string>
#include <vector>

#include "tests/system/firewall/firewall_support.h"

namespace slicer::test::firewall {

/// The programs that look at the result, or the tables themselves: what is missing. Makes no table here.
inline std::string missing_legacy() {
  for (const char* tool : {"iptables-legacy", "ip6tables-legacy"}) {
    const Outcome listed = run({"unshare", "-n", tool, "-t", "mangle", "-S"});
    if (listed.exit_code == 127) return std::string("needs the program ") + tool;
    if (!listed.ok()) return "this kernel has no legacy tables: " + listed.err;
  }
  return {};
}

/// This process's environment for the driver, with the backend and the test's own lock file.
inline std::map<std::string, std::string> legacy_environment() {
  return {{"PATH", getenv("PATH")}, {"SLICER_BACKEND", "iptables"}};
}

inline Outcome legacy_shell(const std::string& line) { return run({"sh", "-c", line}, {.env = legacy_environment()}); }
inline Outcome drive_legacy(const std::string& line) {
  return run(words(driver() + " " + line), {.env = legacy_environment()});
}
inline void must_drive_legacy(const std::string& line) {
  const Outcome outcome = drive_legacy(line);
  if (!outcome.ok()) give_up(line + ": " + outcome.err);
}

/// Whether the case runs for the iptables backend (tests/system/CMakeLists.txt: BOTH_BACKENDS).
inline bool is_legacy() {
  const char* name = getenv("SLICER_BACKEND");
  return name != nullptr && std::string(name) == "iptables";
}

/// All rules of all legacy tables, both families.
inline std::string legacy_rules() {
  std::string all;
  for (const char* program : {"iptables-legacy", "ip6tables-legacy"})
    for (const char* table : {"filter", "nat", "mangle"})
      all += std::string("# ") + program + " " + table + "\n" + must(std::string(program) + " -t " + table + " -S");
  return all;
}

/// The rules of the backend that the case runs for.
inline std::string standing_rules() { return is_legacy() ? legacy_rules() : ruleset(); }
/// The same, in a form that changes when rules are written again.
inline std::string fingerprint() { return is_legacy() ? legacy_rules() : must("nft -s -a list ruleset"); }
/// What the case cannot do without.
inline std::string missing_for_backend() {
  const std::string missing = missing_tool();
  return missing.empty() && is_legacy() ? missing_legacy() : missing;
}

/// The lines that do not name a chain of ours.
inline std::string without_ours(const std::string& rules) {
  std::string others;
  for (size_t at = 0; at < rules.size();) {
    const size_t end = rules.find('\n', at);
    const std::string line = rules.substr(at, end - at + 1);
    if (line.find(" slicer-") == std::string::npos) others += line;
    at += line.size();
  }
  return others;
}

}  // namespace slicer::test::firewall
