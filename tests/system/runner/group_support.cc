#include "tests/system/runner/group_support.h"

#include <filesystem>
#include <fstream>

namespace slicer::test {

GroupHost::GroupHost() {
  std::filesystem::create_directories("/run/image");
  std::filesystem::copy(Runner::kTinyKernel, "/run/image/vmlinux");
  write_text("/run/image/cmdline", "");
  std::filesystem::create_directories("/var/lib/cni/results");
}

std::string group_text(const std::string& name, unsigned count, const std::string& lines) {
  return "    - name: " + name + "\n      count: " + std::to_string(count) +
         "\n      ram_mb: 16\n      image: /run/image\n" + lines;
}

std::string groups_text(const std::string& groups) { return "config:\n  host_groups:\n" + groups; }

void write_groups(const std::string& groups) { write_text(kGroupFile, groups_text(groups)); }

Outcome up(const std::string& options) { return Runner::run("up " + std::string(kGroupFile) + " " + options); }

pid_t supervisor_of(const std::string& vm) {
  const Json record = Runner::vm(vm);
  return record.is_null() ? 0 : record.value("supervisorPid", 0);
}

std::set<std::string> vm_names() {
  std::set<std::string> all;
  for (const Json& vm : Json::parse(Runner::run("list --json").out)) all.insert(vm["name"]);
  return all;
}

size_t running_vms() {
  size_t count = 0;
  for (const Json& vm : Json::parse(Runner::run("list --json").out)) count += vm["state"] == "running" ? 1U : 0U;
  return count;
}

Json lasting(const std::string& vm) {
  Json entry = Runner::vm(vm);
  for (const char* key : {"uptime", "cpuPercent", "cpuSeconds", "memoryBytes"}) entry.erase(key);
  return entry;
}

std::string group_leftovers() {
  std::string text;
  for (const char* folder : {"/run/slicer", "/run/netns", "/var/lib/cni/results"})
    if (exists(folder))
      for (const auto& entry : std::filesystem::directory_iterator(folder))
        if (entry.path() != Host::netns() && entry.path().filename() != ".tap.lock" &&
            entry.path().filename() != ".attach.lock" && !entry.path().string().starts_with("/run/netns/host") &&
            !entry.is_symlink())
          text += entry.path().string() + "\n";
  return text;
}

}  // namespace slicer::test
