// The folders of allocations, as host-local and slicer-ipam share them: who can write there, and what is no allocation.

#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

#include "lib/base/whole_file.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxAllocationFile = 4096;

/// Of one folder: the first of each kind with their number, because all files usually share a fault.
struct Faults {
  std::vector<std::string> writable = {};
  std::vector<std::string> odd = {};    ///< no regular files
  std::vector<std::string> empty = {};  ///< allocations that name nobody
};

bool is_writable_by_others(const struct stat& facts) {
  return facts.st_uid != 0 || (facts.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

bool names_nobody(const std::string& path) {
  const Result<std::string> text = read_file(path, kMaxAllocationFile);
  return text && text->find_first_not_of(" \t\r\n") == std::string::npos;
}

Faults look_into(const std::string& folder) {
  Faults faults;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(folder, gone)) {
    const std::string path = entry.path();
    struct stat facts = {};
    if (lstat(path.c_str(), &facts) != 0) continue;  // released just now
    if (!S_ISREG(facts.st_mode)) {
      faults.odd.push_back(path);
      continue;
    }
    if (is_writable_by_others(facts)) faults.writable.push_back(path);
    if (addr::parse_ip(entry.path().filename().string()) && names_nobody(path)) faults.empty.push_back(path);
  }
  return faults;
}

std::string first_of(const std::vector<std::string>& paths) {
  return paths.size() == 1 ? fmt::format("'{}'", paths.front())
                           : fmt::format("'{}' and {} more", paths.front(), paths.size() - 1);
}

bool check_folder(const std::string& folder, Findings& findings) {
  struct stat facts = {};
  if (lstat(folder.c_str(), &facts) != 0) return true;  // the first ADD makes it
  if (!S_ISDIR(facts.st_mode)) {
    findings.fail("store", fmt::format("'{}' is no folder", folder), "move it away: addresses are kept there");
    return false;
  }
  if (!is_writable_by_others(facts)) return true;
  findings.warn(
      "store",
      fmt::format("'{}' can be written by others than root (owner {}, mode {:04o}): they can give away and free "
                  "addresses",
                  folder, facts.st_uid, facts.st_mode & 07777U),
      fmt::format("chown root '{0}'; chmod 755 '{0}'", folder));
  return false;
}

bool check_files(const CheckedNetwork& checked, const std::string& folder, Findings& findings) {
  const Faults faults = look_into(folder);
  if (!faults.writable.empty())
    findings.warn("store", fmt::format("{} can be written by others than root", first_of(faults.writable)),
                  fmt::format("chown -R root '{0}'; chmod -R go-w '{0}'", folder));
  if (!faults.odd.empty())
    findings.warn("store", fmt::format("{}: no regular file; as an address it is never given", first_of(faults.odd)),
                  "find out who put it there, and remove it");
  if (!faults.empty.empty())
    findings.warn("store",
                  fmt::format("{} of network '{}': empty, as a crash of host-local leaves it", first_of(faults.empty),
                              checked.network.name),
                  "remove it, or have slicer-ipam in the conflist, which takes it for free");
  return faults.writable.empty() && faults.odd.empty() && faults.empty.empty();
}

}  // namespace

void check_stores(const std::vector<CheckedNetwork>& networks, Findings& findings) {
  bool good = true;
  for (const CheckedNetwork& checked : networks) {
    if (!checked.facts.pool) continue;
    const std::string name = checked.facts.pool->blocks ? "_blocks" : checked.network.name;
    const std::string folder = checked.facts.pool->data_dir + "/" + name;
    good = check_folder(checked.facts.pool->data_dir, findings) && good;
    good = check_folder(folder, findings) && good;
    good = check_files(checked, folder, findings) && good;
  }
  if (good) findings.ok("store", "the folders of allocations are root's alone, and hold nothing else");
}

}  // namespace slicer::runner::doctor
