#pragma once
// The version of a stand-in: behind the end of its program's file, so that it goes where the program goes.

#include <fstream>
#include <sstream>
#include <string>

namespace slicer::test {

inline constexpr const char* kVersionMark = "\nSTAND-IN-VERSION ";

/// "1.16.0"; "?" when it has none. `program` is a path that can be opened.
inline std::string version_of(const std::string& program) {
  std::ifstream file(program, std::ios::binary);
  file.seekg(-64, std::ios::end);
  std::ostringstream end;
  end << file.rdbuf();
  const std::string text = end.str();
  const size_t mark = text.rfind(kVersionMark);
  if (mark == std::string::npos) return "?";
  return text.substr(mark + std::string(kVersionMark).size());
}

}  // namespace slicer::test
