#include "runner/completion/completion.h"

#include <CLI/App.hpp>
#include <algorithm>
#include <set>
#include <span>

#include "runner/chain/conflist.h"
#include "runner/completion/app_tree.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {
namespace {

// What may stand for a positional or a flag's value.
enum class ValueKind { kNothing, kVm, kGroup, kNetwork, kFile, kGroupOrFile, kNetworkOrFile };

bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

// The flag of this name, here or in the program's own flags, which stand behind every command.
const CLI::Option* find_flag(const CLI::App& command, const std::string& word) {
  const std::string name = word.substr(0, word.find('='));
  for (const CLI::App* at = &command; at != nullptr; at = at->get_parent())
    for (const CLI::Option* option : options_of(*at))
      if (option->get_positional() == false && option->check_name(name)) return option;
  return nullptr;
}

std::string path_of(const CLI::App& command) {
  std::string path;
  for (const CLI::App* at = &command; at->get_parent() != nullptr; at = at->get_parent())
    path = at->get_name() + (path.empty() ? "" : " ") + path;
  return path;
}

bool has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

// By what the option is called in the help: one word for one thing, in all commands.
ValueKind kind_of(const CLI::App& command, const CLI::Option& option) {
  const std::string path = path_of(command);
  const std::string name = option.get_name();
  if (!option.get_positional()) {
    if (has(name, "network")) return ValueKind::kNetwork;
    if (has(name, "group")) return ValueKind::kGroup;
    for (const char* file : {"kernel", "initrd", "disk", "image", "cni-conf-dir", "cni-path", "file", "identity"})
      if (has(name, file)) return ValueKind::kFile;
    return ValueKind::kNothing;
  }
  const bool is_network = path.starts_with("network ");
  if (has(name, "FILE")) {
    if (has(name, "GROUP")) return ValueKind::kGroupOrFile;
    return is_network ? ValueKind::kNetworkOrFile : ValueKind::kFile;
  }
  if (is_network) return ValueKind::kNetwork;
  if (has(name, "GROUP") || (path == "vm new" && name == "WORD")) return ValueKind::kGroup;
  if (path == "new" || path == "vm new") return ValueKind::kNothing;  // a name that is not there yet
  if (has(name, "VM") || has(name, "NAME")) return ValueKind::kVm;
  if (has(name, "SOURCE") || has(name, "TARGET") || has(name, "PATH")) return ValueKind::kFile;
  return ValueKind::kNothing;
}

// CLI11 tells an IsMember's words in the type's name: "TEXT:{linux,macos}".
std::vector<std::string> fixed_values(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open = type.find('{');
  const size_t close = type.find('}', open);
  std::vector<std::string> values;
  if (open == std::string::npos || close == std::string::npos) return values;
  std::string value;
  for (const char c : type.substr(open + 1, close - open - 1) + ",") {
    if (c != ',') {
      value += c;
      continue;
    }
    if (!value.empty()) values.push_back(value);
    value.clear();
  }
  return values;
}

class Completer {
 public:
  Completer(const CLI::App& app, const KnownNames& names) : command_(&app), names_(names) {}

  Completion run(std::span<const std::string> words) {
    if (words.empty()) return {};
    prefix_ = words.back();
    for (const std::string& word : words.first(words.size() - 1)) pass(word);
    if (literal_) {
      add_positional();
    } else if (value_of_ != nullptr) {
      add_values(*value_of_, "");
    } else if (prefix_.starts_with("--") && prefix_.find('=') != std::string::npos) {
      const std::string flag = prefix_.substr(0, prefix_.find('=') + 1);
      if (const CLI::Option* option = find_flag(*command_, prefix_)) add_values(*option, flag);
    } else if (prefix_.starts_with("-")) {
      add_flags();
    } else {
      add_commands();
      add_positional();
    }
    return std::move(result_);
  }

 private:
  void pass(const std::string& word) {
    if (value_of_ != nullptr) {
      value_of_ = nullptr;
    } else if (word == "--") {
      literal_ = true;
    } else if (!literal_ && word.starts_with("-")) {
      const CLI::Option* option = find_flag(*command_, word);
      if (option != nullptr && takes_value(*option) && word.find('=') == std::string::npos) value_of_ = option;
    } else if (const CLI::App* below = literal_ ? nullptr : find_command(word)) {
      command_ = below;
      positionals_ = 0;
    } else {
      ++positionals_;
    }
  }

  [[nodiscard]] const CLI::App* find_command(const std::string& word) const {
    for (const CLI::App* known : commands_of(*command_))
      if (known->check_name(word)) return known;
    return nullptr;
  }

  void add(const std::string& text, const std::string& description) {
    if (!text.starts_with(prefix_)) return;
    const std::string line = description.substr(0, description.find('\n'));
    if (std::ranges::find(result_.candidates, text, &Candidate::text) == result_.candidates.end())
      result_.candidates.push_back({text, line});
  }

  void add_commands() {
    for (const CLI::App* known : commands_of(*command_))
      if (!known->get_group().empty()) add(known->get_name(), known->get_description());
  }

  void add_flags() {
    for (const CLI::App* at = command_; at != nullptr; at = at->get_parent())
      for (const CLI::Option* option : options_of(*at))
        for (const std::string& name : option->get_lnames()) add("--" + name, option->get_description());
  }

  void add_positional() {
    size_t at = 0;
    const CLI::Option* last = nullptr;
    for (const CLI::Option* option : options_of(*command_)) {
      if (!option->get_positional()) continue;
      last = option;
      if (at++ == positionals_) return add_values(*option, "");
    }
    if (last != nullptr && last->get_items_expected_max() > 1) add_values(*last, "");  // NAME…
  }

  void add_all(const std::vector<std::string>& texts, const char* what, const std::string& before) {
    for (const std::string& text : texts) add(before + text, what);
  }

  void add_values(const CLI::Option& option, const std::string& before) {
    add_all(fixed_values(option), "", before);
    const ValueKind kind = kind_of(*command_, option);
    if (kind == ValueKind::kVm) add_all(names_.vms, "VM", before);
    if (kind == ValueKind::kGroup || kind == ValueKind::kGroupOrFile) add_all(names_.groups, "host group", before);
    if (kind == ValueKind::kNetwork || kind == ValueKind::kNetworkOrFile) add_all(names_.networks, "network", before);
    result_.files = kind == ValueKind::kFile || kind == ValueKind::kGroupOrFile || kind == ValueKind::kNetworkOrFile;
  }

  const CLI::App* command_;
  const KnownNames& names_;
  std::string prefix_ = {};
  const CLI::Option* value_of_ = nullptr;
  bool literal_ = false;
  size_t positionals_ = 0;
  Completion result_ = {};
};

// bash takes "--net=bridge" apart: "--net", "=", "bridge".
std::vector<std::string> without_equals(std::vector<std::string> words) {
  if (!words.empty() && words.back() == "=") words.back().clear();
  std::erase(words, "=");
  return words;
}

}  // namespace

KnownNames look_up_names(const Settings& settings) {
  std::set<std::string> vms;
  std::set<std::string> groups;
  if (const auto names = list_vm_names(settings)) vms.insert(names->begin(), names->end());
  if (const auto folders = list_kept_folders(settings)) vms.insert(folders->begin(), folders->end());
  for (const std::string& name : vms) {
    if (const Result<VmRecord> record = load_record(settings, name)) {
      groups.insert(record->group);
    } else if (const auto kept = find_definition(settings, name); kept && *kept) {
      groups.insert((*kept)->group);
    }
  }
  groups.erase("");
  KnownNames known;
  known.vms.assign(vms.begin(), vms.end());
  known.groups.assign(groups.begin(), groups.end());
  if (const auto listing = chain::list_networks(settings.conf_dir))
    for (const chain::Conflist& network : listing->networks) known.networks.push_back(network.name);
  return known;
}

Completion complete(const CLI::App& app, const KnownNames& names, const std::vector<std::string>& words) {
  return Completer(app, names).run(without_equals(words));
}

std::string completion_text(const Completion& completion) {
  std::string text;
  for (const Candidate& candidate : completion.candidates) text += candidate.text + "\t" + candidate.description + "\n";
  return text + (completion.files ? ":files\n" : "");
}

}  // namespace slicer::runner
