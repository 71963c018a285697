#include "runner/doctor/managed_links.h"

#include <fnmatch.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "lib/base/whole_file.h"

namespace slicer::runner::doctor {
namespace {

namespace fs = std::filesystem;

std::string_view trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::vector<std::string> split(std::string_view text, std::string_view separators) {
  std::vector<std::string> parts;
  while (true) {
    const size_t first = text.find_first_not_of(separators);
    if (first == std::string_view::npos) return parts;
    const size_t end = std::min(text.find_first_of(separators, first), text.size());
    parts.emplace_back(text.substr(first, end - first));
    text.remove_prefix(end);
  }
}

struct Assignment {
  std::string section = {};
  std::string key = {};
  std::string value = {};
};

/// The format that both programs' files share: [Section], Key=value, # and ; comments.
void each_assignment(std::string_view text, const std::function<void(const Assignment&)>& take) {
  Assignment now;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line[0] == '#' || line[0] == ';') continue;
    if (line.front() == '[' && line.back() == ']') {
      now.section = line.substr(1, line.size() - 2);
      continue;
    }
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    now.key = trim(line.substr(0, equals));
    now.value = trim(line.substr(equals + 1));
    take(now);
  }
}

bool is_yes(std::string_view value) {
  return value == "yes" || value == "true" || value == "1" || value == "on" || value == "y" || value == "t";
}

void add(std::vector<std::string>& list, const std::string& value) {
  if (value.empty()) return list.clear();  // an empty assignment starts over
  for (std::string& part : split(value, " \t")) list.push_back(std::move(part));
}

void take_match(const Assignment& line, NetworkFile& file, bool& any) {
  any = true;
  if (line.key == "Name") {
    add(file.names, line.value);
  } else if (line.key == "Kind") {
    add(file.kinds, line.value);
  } else if (line.key == "Type") {
    add(file.types, line.value);
  } else if (line.key == "Driver") {
    add(file.drivers, line.value);
  } else if (line.key == "MACAddress" || line.key == "PermanentMACAddress" || line.key == "Path" ||
             line.key == "SSID" || line.key == "BSSID" || line.key == "WLANInterfaceType") {
    file.matchable = false;  // ours have none of these, or one that nobody knows before
  }
}

/// Shell patterns; one '!' at the beginning turns the whole list round. An empty list matches all.
bool list_matches(const std::vector<std::string>& patterns, const std::string& text) {
  if (patterns.empty()) return true;
  const bool inverted = patterns.front().starts_with('!');
  for (size_t i = 0; i < patterns.size(); ++i) {
    const std::string pattern = i == 0 && inverted ? patterns[i].substr(1) : patterns[i];
    if (fnmatch(pattern.c_str(), text.c_str(), 0) == 0) return !inverted;
  }
  return inverted;
}

std::vector<std::string> files_of(const std::string& folder, const std::string& extension) {
  std::vector<std::string> files;
  std::error_code failure;
  fs::directory_iterator found(folder, failure);
  for (; !failure && found != fs::directory_iterator(); found.increment(failure))
    if (found->path().extension() == extension) files.push_back(found->path().filename());
  std::ranges::sort(files);
  return files;
}

/// Files by name over several folders: a folder named later hides the same name of an earlier one.
std::map<std::string, std::string> merged_files(const std::vector<std::string>& folders, const std::string& extension) {
  std::map<std::string, std::string> files;
  for (const std::string& folder : folders)
    for (const std::string& name : files_of(folder, extension)) files[name] = folder + "/" + name;
  return files;
}

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void take_unmanaged(const Assignment& line, std::vector<std::string>& patterns) {
  std::string key = line.key;
  const bool more = key.ends_with('+');
  if (more) key = trim(std::string_view(key).substr(0, key.size() - 1));
  if (key != "unmanaged-devices") return;
  if (!more) patterns.clear();
  for (std::string& part : split(line.value, ";, \t")) patterns.push_back(std::move(part));
}

bool device_matches(std::string_view pattern, const LinkIdentity& link) {
  if (pattern == "*") return true;
  const auto rest = [&](std::string_view prefix) { return std::string(pattern.substr(prefix.size())); };
  if (pattern.starts_with("interface-name:=")) return rest("interface-name:=") == link.name;
  if (pattern.starts_with("interface-name:"))
    return fnmatch(rest("interface-name:").c_str(), link.name.c_str(), 0) == 0;
  if (pattern.starts_with("type:")) return rest("type:") == link.kind;
  if (pattern.starts_with("driver:")) return fnmatch(rest("driver:").c_str(), link.kind.c_str(), 0) == 0;
  return false;
}

}  // namespace

NetworkFile parse_network_file(std::string_view text, std::string path) {
  NetworkFile file{.path = std::move(path)};
  bool any = false;
  each_assignment(text, [&](const Assignment& line) {
    if (line.section == "Match") take_match(line, file, any);
    if (line.section == "Link" && line.key == "Unmanaged") file.leaves_alone |= is_yes(line.value);
    if (line.section == "Network" && line.key == "KeepConfiguration")
      file.leaves_alone |= is_yes(line.value) || line.value == "static";
  });
  file.matchable = file.matchable && any;
  return file;
}

bool matches(const NetworkFile& file, const LinkIdentity& link) {
  // networkd's type of a bridge is "bridge", of TAPs and veths "ether".
  const std::string type = link.kind == "bridge" ? "bridge" : "ether";
  return file.matchable && list_matches(file.names, link.name) && list_matches(file.kinds, link.kind) &&
         list_matches(file.types, type) && list_matches(file.drivers, link.kind);
}

std::vector<NetworkFile> read_network_files(const std::string& root) {
  std::vector<std::string> folders;
  for (const char* folder :
       {"/usr/lib/systemd/network", "/usr/local/lib/systemd/network", "/run/systemd/network", "/etc/systemd/network"})
    folders.push_back(root + folder);
  std::vector<NetworkFile> files;
  for (const auto& [name, path] : merged_files(folders, ".network"))
    files.push_back(parse_network_file(read_file(path).value_or(""), path));  // /dev/null: empty, matches nothing
  return files;
}

std::optional<NetworkFile> taken_by(const std::vector<NetworkFile>& files, const LinkIdentity& link) {
  for (const NetworkFile& file : files) {
    if (!matches(file, link)) continue;
    if (file.leaves_alone) return std::nullopt;
    return file;
  }
  return std::nullopt;
}

bool networkd_in_use(const std::string& root) {
  return exists(root + "/run/systemd/netif/state") ||
         exists(root + "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service");
}

bool network_manager_in_use(const std::string& root) { return exists(root + "/run/NetworkManager"); }

std::vector<std::string> unmanaged_devices(const std::string& root) {
  std::vector<std::string> patterns;
  const auto read = [&](const std::string& path) {
    each_assignment(read_file(path).value_or(""), [&](const Assignment& line) { take_unmanaged(line, patterns); });
  };
  const std::string own = "/NetworkManager/conf.d";
  for (const auto& [name, path] : merged_files({root + "/usr/lib" + own, root + "/run" + own}, ".conf"))
    if (!exists(root + "/etc" + own + "/" + name)) read(path);
  read(root + "/etc/NetworkManager/NetworkManager.conf");
  for (const auto& [name, path] : merged_files({root + "/etc" + own}, ".conf")) read(path);
  return patterns;
}

bool is_unmanaged(const std::vector<std::string>& patterns, const LinkIdentity& link) {
  bool unmanaged = false;
  for (const std::string& pattern : patterns) {
    if (pattern.starts_with("except:")) {
      if (device_matches(std::string_view(pattern).substr(7), link)) return false;
    } else {
      unmanaged = unmanaged || device_matches(pattern, link);
    }
  }
  return unmanaged;
}

}  // namespace slicer::runner::doctor
