// A plugin that is wrong on purpose: it runs the real one (DISTORTED_PLUGIN) and spoils what goes in or comes out, as
// DISTORTION says; a list of these, separated by ' & ':
//
//   skip, skip=VERB           does nothing, prints nothing, succeeds
//   fail, fail=VERB           does nothing, fails with code 999
//   exit=N                    its exit code
//   mute                      prints nothing
//   say                       prints {} where the real one prints nothing
//   out:/pointer=JSON         what it prints, changed;  out:/pointer  without that
//   in:/pointer=JSON          the configuration that it reads, changed;  in:/pointer  without that
//   env:NAME=VALUE            a variable that it sees
//
// The conformance suite must notice (requirement.h).
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/whole_file.h"
#include "lib/cni/exec.h"
#include "lib/cni/json.h"

extern char** environ;

namespace {

using slicer::cni::Json;

struct Step {
  std::string word = {};
  std::string key = {};  // a pointer or a name
  std::optional<std::string> value = {};
};

std::vector<Step> read_steps(std::string text) {
  std::vector<Step> steps;
  const std::string separator = " & ";
  for (text += separator; !text.empty();) {
    const std::string part = text.substr(0, text.find(separator));
    text.erase(0, part.size() + separator.size());
    Step step;
    const size_t equals = part.find('=');
    if (equals != std::string::npos) step.value = part.substr(equals + 1);
    const std::string left = part.substr(0, equals);
    const size_t colon = left.find(':');
    step.word = left.substr(0, colon);
    if (colon != std::string::npos) step.key = left.substr(colon + 1);
    steps.push_back(step);
  }
  return steps;
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

/// `text` with one place changed; text that is no JSON stays.
std::string changed(const std::string& text, const Step& step) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) return text;
  const Json::json_pointer pointer(step.key);
  if (step.value) {
    json[pointer] = Json::parse(*step.value);
  } else if (json.contains(pointer)) {
    json[pointer.parent_pointer()].erase(pointer.back());
  }
  return json.dump() + "\n";
}

struct Wrong {
  bool skips = false;
  bool fails = false;
  std::optional<int> exit_code = {};
};

}  // namespace

int main() {
  const std::string verb = variable("CNI_COMMAND");
  std::string input = slicer::read_fd(STDIN_FILENO, size_t{16} << 20).value_or("");
  const std::vector<Step> steps = read_steps(variable("DISTORTION"));
  Wrong wrong;
  for (const Step& step : steps) {
    const bool now = !step.value || *step.value == verb;
    if (step.word == "skip") wrong.skips = wrong.skips || now;
    if (step.word == "fail") wrong.fails = wrong.fails || now;
    if (step.word == "exit") wrong.exit_code = std::stoi(*step.value);
    if (step.word == "in") input = changed(input, step);
    if (step.word == "env") (void)setenv(step.key.c_str(), step.value.value_or("").c_str(), 1);
  }
  if (wrong.skips) return 0;
  if (wrong.fails) {
    (void)std::puts(R"({"cniVersion": "1.1.0", "code": 999, "msg": "wrong on purpose"})");
    return 1;
  }
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.emplace_back(*entry);
  auto finished =
      slicer::cni::run_program({.file = variable("DISTORTED_PLUGIN"), .environment = environment, .input = input});
  if (!finished) return 99;
  std::string output = finished->output;
  for (const Step& step : steps) {
    if (step.word == "mute") output.clear();
    if (step.word == "say" && output.empty()) output = "{}\n";
    if (step.word == "out") output = changed(output, step);
  }
  (void)std::fputs(output.c_str(), stdout);
  return wrong.exit_code.value_or(finished->exit_code());
}
