// The xtables lock.
#include <fmt/format.h>
#include <sys/stat.h>

#include <charconv>
#include <cstdlib>
#include <ranges>

#include "lib/netfilter/iptables/table.h"

namespace slicer::netfilter {
namespace {

constexpr const char* kDefaultPath = "/run/xtables.lock";  // iptables: XT_LOCK_NAME

std::string lock_path() {
  const char* named = std::getenv("XTABLES_LOCKFILE");  // NOLINT(concurrency-mt-unsafe): plugins have one thread
  return named != nullptr && *named != '\0' ? named : kDefaultPath;
}

/// "7: FLOCK  ADVISORY  WRITE 4711 00:1b:42 0 EOF" of /proc/locks: the pid, when the inode is this one.
std::string pid_in(std::string_view line, ino_t inode) {
  std::vector<std::string> words;
  for (const auto word : std::views::split(line, ' '))
    if (!word.empty()) words.emplace_back(word.begin(), word.end());
  constexpr size_t kPid = 4;
  constexpr size_t kFile = 5;
  if (words.size() <= kFile || words[1] != "FLOCK") return {};
  return words[kFile].ends_with(":" + std::to_string(inode)) ? words[kPid] : std::string();
}

/// " by 'iptables' (pid 4711)", or nothing when /proc does not tell (another pid namespace).
std::string holder(const std::string& path) {
  struct stat file{};
  const Result<std::string> locks = read_file("/proc/locks");
  if (!locks || stat(path.c_str(), &file) != 0) return {};
  for (const auto line : std::views::split(*locks, '\n')) {
    const std::string pid = pid_in(std::string_view(line.begin(), line.end()), file.st_ino);
    if (pid.empty()) continue;
    std::string name = read_file("/proc/" + pid + "/comm").value_or("");
    if (!name.empty()) name.pop_back();
    return name.empty() ? fmt::format(" by pid {}", pid) : fmt::format(" by '{}' (pid {})", name, pid);
  }
  return {};
}

}  // namespace

Result<FileLock> take_xtables_lock(std::chrono::milliseconds limit) {
  const std::string path = lock_path();
  Result<FileLock> lock = FileLock::acquire(path, limit);
  if (lock || lock.error().kind != Kind::kBusy) return lock;
  return fail(Kind::kBusy, fmt::format("lock '{}': held{} for more than {} ms", path, holder(path), limit.count()),
              "some program changes rules of iptables (iptables, Docker, kube-proxy, ufw): try again, and if it "
              "stays so, `fuser -v` on the file shows who");
}

}  // namespace slicer::netfilter
