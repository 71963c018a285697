#include "runner/state/vm_files.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace slicer::runner {
namespace {

// DNS allows 253. The name is part of file names (libcni's cache: network, name and interface), which end at 255.
constexpr size_t kMaxName = 200;
constexpr size_t kMaxLabel = 63;

bool is_label(std::string_view label) {
  const auto alnum = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (label.empty() || label.size() > kMaxLabel || !alnum(label.front()) || !alnum(label.back())) return false;
  return std::ranges::all_of(label, [&](char c) { return alnum(c) || c == '-'; });
}

bool is_dns_name(std::string_view name) {
  if (name.size() > kMaxName) return false;
  for (;;) {
    const size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    name.remove_prefix(dot + 1);
  }
}

struct CloseDirectory {
  void operator()(DIR* directory) const { (void)closedir(directory); }
};

}  // namespace

VmFiles vm_files(const Settings& settings, const std::string& name) {
  const std::string folder = settings.state_dir + "/" + name;
  return {.folder = folder,
          .lock = folder + "/lock",
          .state = folder + "/state.json",
          .console_socket = folder + "/console.sock",
          .console_log = folder + "/console.log",
          .hypervisor_log = folder + "/hypervisor.log",
          .supervisor_log = folder + "/supervisor.log",
          .seed = folder + "/seed.iso",
          .packet_log = folder + "/packets.log"};
}

Result<void> check_vm_name(const std::string& name) {
  if (is_dns_name(name)) return {};
  return fail(
      Kind::kInvalidConfig, "name '" + name + "' is not a DNS name",
      "use small letters, digits and '-', 63 at most between dots, beginning and ending with a letter or digit");
}

Result<std::vector<std::string>> list_vm_names(const Settings& settings) {
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(settings.state_dir.c_str()));
  if (!directory) {
    if (errno == ENOENT) return std::vector<std::string>{};
    return fail_errno(errno, "open folder '" + settings.state_dir + "'");
  }
  std::vector<std::string> names;
  while (const dirent* entry = readdir(directory.get())) {
    struct stat info{};
    if (!is_dns_name(entry->d_name) || stat((settings.state_dir + "/" + entry->d_name).c_str(), &info) != 0) continue;
    if (S_ISDIR(info.st_mode)) names.emplace_back(entry->d_name);
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace slicer::runner
