#include "lib/cni/environment.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <string_view>

#include "lib/base/utf8.h"

namespace slicer::cni {
namespace {

struct CommandRow {
  Command command;
  const char* name;
  // Which variables must be there: libcni's pkg/skel, which wants CNI_PATH for more commands than SPEC.md does.
  bool needs_container;
  bool needs_netns;
  bool needs_path;
};

constexpr std::array<CommandRow, 6> kCommands{{{Command::kAdd, "ADD", true, true, true},
                                               {Command::kDel, "DEL", true, false, true},
                                               {Command::kCheck, "CHECK", true, true, true},
                                               {Command::kGc, "GC", false, false, true},
                                               {Command::kStatus, "STATUS", false, false, true},
                                               {Command::kVersion, "VERSION", false, false, false}}};

bool is_alphanumeric(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

// ^[a-zA-Z0-9][a-zA-Z0-9_.-]*$, SPEC.md's pattern of container IDs and network names.
bool is_cni_name(const std::string& name) {
  if (name.empty() || !is_alphanumeric(name[0])) return false;
  return std::ranges::all_of(name, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

constexpr const char* kNameHint = "begin with a letter or digit, then use letters, digits, '_', '.' and '-'";

Result<CommandRow> find_command(const std::string& name) {
  for (const CommandRow& row : kCommands)
    if (name == row.name) return row;
  return fail(Kind::kInvalidEnvironment, "CNI_COMMAND: '" + name + "' is not a command",
              "use ADD, DEL, CHECK, GC, STATUS or VERSION");
}

// The whole of CNI_ARGS. An ADD or CHECK with a part that is not KEY=VALUE is refused; the other commands, which clean
// up after what such an ADD never made, pass over the part.
Result<std::map<std::string, std::string>> parse_args(std::string_view text, bool strict) {
  std::map<std::string, std::string> args;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    if (equals != std::string_view::npos && equals > 0) {
      args[std::string(pair.substr(0, equals))] = pair.substr(equals + 1);
    } else if (strict) {
      return fail(Kind::kInvalidEnvironment, "CNI_ARGS: '" + std::string(pair.substr(0, 100)) + "' is not KEY=VALUE",
                  "write KEY=VALUE pairs separated by ';'");
    }
  }
  return args;
}

std::vector<std::string> split_path(std::string_view text) {
  std::vector<std::string> folders;
  while (!text.empty()) {
    const std::string_view folder = text.substr(0, text.find(':'));
    text.remove_prefix(std::min(folder.size() + 1, text.size()));
    if (!folder.empty()) folders.emplace_back(folder);
  }
  return folders;
}

bool is_true(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text == "1" || text == "TRUE";
}

Result<void> check_presence(const CommandRow& row, const Environment& env) {
  std::string missing;
  const auto need = [&missing](bool needed, bool absent, const char* name) {
    if (needed && absent) missing.append(missing.empty() ? "" : ", ").append(name);
  };
  need(row.needs_container, env.container_id.empty(), "CNI_CONTAINERID");
  need(row.needs_netns, env.netns.empty(), "CNI_NETNS");
  need(row.needs_container, env.ifname.empty(), "CNI_IFNAME");
  need(row.needs_path, env.path.empty(), "CNI_PATH");
  if (missing.empty()) return {};
  return fail(Kind::kInvalidEnvironment, "missing environment: " + missing,
              std::string("set what CNI_COMMAND=") + row.name + " needs");
}

}  // namespace

const char* command_name(Command command) {
  for (const CommandRow& row : kCommands)
    if (row.command == command) return row.name;
  return "?";
}

std::optional<std::string> Environment::arg(const std::string& key) const {
  const auto found = args.find(key);
  if (found == args.end() || found->second.empty()) return std::nullopt;
  return found->second;
}

Result<Environment> read_environment(const Getenv& getenv) {
  const auto text = [&getenv](const char* name) { return getenv(name).value_or(""); };
  const std::string name = text("CNI_COMMAND");
  if (name.empty()) return fail(Kind::kInvalidEnvironment, "missing environment: CNI_COMMAND");
  const CommandRow row = TRY(find_command(name));
  Environment env{.command = row.command};
  if (row.command == Command::kVersion) return env;
  env.container_id = text("CNI_CONTAINERID");
  env.netns = text("CNI_NETNS");
  env.ifname = text("CNI_IFNAME");
  env.path = split_path(text("CNI_PATH"));
  env.netns_override = is_true(text("CNI_NETNS_OVERRIDE"));
  TRY(check_presence(row, env));
  if (row.needs_container) {
    TRY(check_container_id(env.container_id));
    TRY(check_ifname(env.ifname).context("CNI_IFNAME"));
  }
  env.args = TRY(parse_args(text("CNI_ARGS"), row.command == Command::kAdd || row.command == Command::kCheck));
  return env;
}

Result<void> check_container_id(const std::string& id) {
  if (is_cni_name(id)) return {};
  return fail(Kind::kInvalidEnvironment, "CNI_CONTAINERID: '" + id.substr(0, 100) + "' is not a container ID",
              kNameHint);
}

Result<void> check_network_name(const std::string& name) {
  // Folder and cache file names (NAME_MAX, 255) and link aliases (IFALIASZ, 256) are made of it.
  constexpr size_t kLongest = 200;
  if (name.empty()) return fail(Kind::kInvalidConfig, "\"name\": missing", "give the network a \"name\"");
  if (!is_cni_name(name))
    return fail(Kind::kInvalidConfig, "\"name\": '" + name.substr(0, 100) + "' is not a network name", kNameHint);
  if (name.size() > kLongest)
    return fail(Kind::kInvalidConfig, "\"name\": " + std::to_string(name.size()) + " characters are too many",
                "use at most " + std::to_string(kLongest));
  return {};
}

namespace {

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace

Result<void> check_ifname(const std::string& name) {
  const auto refuse = [&name](const char* why) {
    return fail(Kind::kInvalidEnvironment, "interface name '" + name.substr(0, 100) + "' " + why,
                "use 1-15 characters, none of them '/', ':', '%' or white space");
  };
  if (name.empty()) return refuse("is empty");
  if (name.size() > 15) return refuse("is longer than 15 bytes");  // IFNAMSIZ - 1
  if (name == "." || name == "..") return refuse("is a name of folders");
  // A link's settings stand in a folder of its name beside these two (net/ipv4/devinet.c, devinet_sysctl_register()).
  if (name == "all" || name == "default") return refuse("is a name that the kernel keeps for itself");
  if (!is_utf8(name)) return refuse("is no UTF-8 and could not stand in a result");
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    // 0xa0 is white space to the kernel (lib/ctype.c); '%' makes it number the name (dev_prep_valid_name()).
    if (byte <= 0x20 || byte == 0x7f || byte == 0xa0 || c == '/' || c == ':' || c == '%')
      return refuse("has a character that no interface name may have");
  }
  return {};
}

}  // namespace slicer::cni
