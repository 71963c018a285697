#pragma once
// A folder of its own for a test, gone at the end.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace slicer::test {

class TempFolder {
 public:
  TempFolder() : path_((std::filesystem::temp_directory_path() / "slicer-test-XXXXXX").string()) {
    if (mkdtemp(path_.data()) == nullptr) std::abort();
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const { std::ofstream(file(name)) << text; }
  void folder(const std::string& name) const { std::filesystem::create_directories(file(name)); }
  void remove(const std::string& name) const { std::filesystem::remove_all(file(name)); }

 private:
  std::string path_;
};

}  // namespace slicer::test
