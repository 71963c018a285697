// A CNI plugin for tests of the runtime. It does nothing but record each call in the folder RECORDING_DIR as
// "<number>-<name>-<command>.json" ({"environment", "input"}), and answer with the folder's file
// "<name>.<command>.answer", whose first line is the exit code ("signal" ends it by SIGKILL), the rest its stdout.
// Without that file it succeeds, and ADD answers an empty result.

#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"

extern char** environ;

namespace {

using Json = nlohmann::json;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Json environment() {
  Json variables = Json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (equals != std::string::npos) variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

/// The first free number is this call's: calls of a chain follow one another.
void record(const std::string& stem, const std::string& input) {
  const std::string text = Json{{"environment", environment()}, {"input", input}}.dump();
  for (int number = 1;; ++number) {
    const std::string prefix = variable("RECORDING_DIR") + "/" + std::to_string(number);
    const slicer::UniqueFd taken(open((prefix + ".taken").c_str(), O_CREAT | O_EXCL | O_CLOEXEC | O_WRONLY, 0600));
    if (!taken.valid()) continue;
    std::ofstream(prefix + "-" + stem + ".json") << text;
    return;
  }
}

int answer(const std::string& file, const std::string& fallback) {
  std::ifstream in(file);
  std::string first;
  if (!std::getline(in, first)) {
    (void)!write(STDOUT_FILENO, fallback.data(), fallback.size());
    return 0;
  }
  const std::string rest{std::istreambuf_iterator<char>(in), {}};
  (void)!write(STDOUT_FILENO, rest.data(), rest.size());
  if (first == "signal") (void)raise(SIGKILL);
  if (first == "hang") (void)pause();
  return std::atoi(first.c_str());
}

}  // namespace

int main(int, char** argv) {
  const std::string path = argv[0];
  const std::string name = path.substr(path.rfind('/') + 1);
  const std::string command = variable("CNI_COMMAND");
  const auto input = slicer::read_fd(STDIN_FILENO, size_t{1} << 20);
  record(name + "-" + command, input.value_or("unreadable"));
  return answer(variable("RECORDING_DIR") + "/" + name + "." + command + ".answer", command == "ADD" ? "{}" : "");
}
