#pragma once
// Upstream's plugins and networks of one's own making, for the runner's tests.

#include <unistd.h>

#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {

/// The folder of upstream's plugins, which tests/harness/build makes; empty: it has not been made. (SLICER_UPSTREAM_DIR
/// in the environment names another.)
inline std::string upstream_dir() {
  const char* given = std::getenv("SLICER_UPSTREAM_DIR");
  const std::string folder = given != nullptr ? given : bin_dir() + "/../../harness/bin";
  return access((folder + "/portmap").c_str(), X_OK) == 0 ? folder : "";
}

inline void write_network(const std::string& file, const Json& content) {
  std::ofstream out("/etc/cni/net.d/" + file);
  if (content.is_string())
    out << content.get<std::string>();
  else
    out << content.dump();
}

}  // namespace slicer::test
