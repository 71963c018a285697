// The CNI_* variables: lines of the input, in the order of `kNames`.

#include <array>

#include "lib/cni/environment.h"
#include "lib/cni/error.h"
#include "tests/fuzz/expect.h"

namespace cni = slicer::cni;

namespace {

constexpr std::array<const char*, 7> kNames = {"CNI_COMMAND", "CNI_ARGS", "CNI_CONTAINERID",   "CNI_IFNAME",
                                               "CNI_NETNS",   "CNI_PATH", "CNI_NETNS_OVERRIDE"};

std::map<std::string, std::string> variables(std::string_view text) {
  std::map<std::string, std::string> all;
  for (const char* name : kNames) {
    const std::string_view line = text.substr(0, text.find('\n'));
    all[name] = line.substr(0, line.find('\0'));  // a variable ends at a zero byte
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  return all;
}

void check_environment(const cni::Environment& env) {
  const bool attachment =
      env.command == cni::Command::kAdd || env.command == cni::Command::kDel || env.command == cni::Command::kCheck;
  if (attachment) EXPECT(cni::check_container_id(env.container_id).has_value());
  if (attachment) EXPECT(cni::check_ifname(env.ifname).has_value() && env.ifname.size() <= 15);
  for (const auto& [key, value] : env.args) EXPECT(!key.empty() && env.arg(key).value_or("") == value);
  for (const std::string& folder : env.path) EXPECT(!folder.empty() && folder.find(':') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto all = variables({reinterpret_cast<const char*>(data), size});
  const auto env = cni::read_environment([&all](const char* name) -> std::optional<std::string> {
    const auto found = all.find(name);
    return found == all.end() ? std::nullopt : std::optional(found->second);
  });
  if (env) {
    check_environment(*env);
  } else {
    EXPECT(cni::error_code(env.error()) == 4);
    EXPECT(cni::parse_json(cni::dump_json(cni::error_json(env.error(), "1.1.0"))).has_value());
  }
  return 0;
}
