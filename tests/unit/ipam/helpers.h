#pragma once
// Shared by the tests of ipam/.

#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "lib/addr/ip.h"

namespace slicer::ipam::test {

inline addr::Ip ip(std::string_view text) { return addr::parse_ip(text).value(); }
inline addr::IpRange range(std::string_view text) { return addr::parse_range(text).value(); }
inline addr::Cidr cidr(std::string_view text) { return addr::parse_cidr(text).value(); }

/// A folder that dies with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "slicer-ipam-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline void write_file(const std::string& path, std::string_view content) {
  std::ofstream(path, std::ios::binary) << content;
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace slicer::ipam::test
