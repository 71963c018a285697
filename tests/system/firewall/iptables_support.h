#pragma once
// Legacy tables, as seen by the old iptables programs.

#include <map>
#include <string>
#include <vector>

#include "tests/system/firewall/firewall_support.h"

namespace slicer::test::firewall {

/// The programs that look at the result, or the tables themselves: what is missing. To be asked inside a Host.
inline std::string missing_legacy() {
  for (const char* tool : {"iptables-legacy", "ip6tables-legacy"}) {
    const Outcome listed = run({tool, "-t", "mangle", "-S"});
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

/// All rules of all legacy tables, both families.
inline std::string legacy_rules() {
  std::string all;
  for (const char* program : {"iptables-legacy", "ip6tables-legacy"})
    for (const char* table : {"filter", "nat", "mangle"})
      all += std::string("# ") + program + " " + table + "\n" + must(std::string(program) + " -t " + table + " -S");
  return all;
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
