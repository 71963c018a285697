#include "runner/hypervisor/vm_cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr const char* kParent = "slicer";
constexpr size_t kMaxMounts = size_t{16} << 20;
constexpr auto kEmptyLimit = 5s;

// A front of our own: a VM may have the name of one of the kernel's files there.
std::string group_of(const std::string& vm) { return std::string(kParent) + "/vm-" + vm; }

// These files are there already; whether the kernel takes the value is the answer.
bool put(const std::string& path, std::string_view value) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return file.valid() && write(file.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

// Until the last process has left: cgroup.events tells by POLLPRI what has changed since it was read (Linux,
// Documentation/admin-guide/cgroup-v2.rst, "[Un]populated Notification").
void await_empty(const std::string& path, std::chrono::steady_clock::time_point deadline) {
  const UniqueFd events(open((path + "/cgroup.events").c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 256> text = {};
  while (events.valid()) {
    const ssize_t size = pread(events.get(), text.data(), text.size(), 0);
    if (size <= 0 || std::string_view(text.data(), static_cast<size_t>(size)).find("populated 0") != std::string::npos)
      return;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd change{.fd = events.get(), .events = POLLPRI, .revents = 0};
    if (left.count() <= 0 || poll(&change, 1, static_cast<int>(left.count())) == 0) return;
  }
}

// Another VM may take the empty parent away meanwhile.
bool make_folders(const std::string& root, const std::string& group) {
  for (int tries = 0; tries < 100; ++tries) {
    if (mkdir((root + "/" + kParent).c_str(), 0755) != 0 && errno != EEXIST) return false;
    if (mkdir((root + "/" + group).c_str(), 0755) == 0 || errno == EEXIST) return true;
    if (errno != ENOENT) return false;
  }
  return false;
}

}  // namespace

std::optional<std::string> find_cgroup_root(std::string_view mounts) {
  while (!mounts.empty()) {
    const std::string_view line = mounts.substr(0, mounts.find('\n'));
    mounts.remove_prefix(std::min(line.size() + 1, mounts.size()));
    const size_t folder = line.find(' ') + 1;
    const size_t type = line.find(' ', folder) + 1;
    if (folder == 0 || type == 0) continue;
    if (line.substr(type).starts_with("cgroup2 ")) return std::string(line.substr(folder, type - folder - 1));
  }
  return std::nullopt;
}

std::optional<std::string> cgroup_root() {
  const Result<std::string> mounts = read_file("/proc/self/mounts", kMaxMounts);
  std::optional<std::string> root = mounts ? find_cgroup_root(*mounts) : std::nullopt;
  // Another mount may cover it: the jailer would not get there either.
  if (root && access((*root + "/cgroup.procs").c_str(), F_OK) != 0) root.reset();
  return root;
}

Result<std::string> make_vm_cgroup(const std::string& root, const std::string& vm, const CgroupLimits& limits) {
  std::string group = group_of(vm);
  if (!make_folders(root, group)) return fail_errno(errno, "make cgroup '" + root + "/" + group + "'");
  // Not all of them are there or may be had: in a container's hierarchy, or a host's with the first version beside it.
  for (const char* controller : {"+memory", "+pids"}) {
    (void)put(root + "/cgroup.subtree_control", controller);
    (void)put(root + "/" + kParent + "/cgroup.subtree_control", controller);
  }
  (void)put(root + "/" + group + "/memory.max", std::to_string(limits.memory_bytes));
  (void)put(root + "/" + group + "/pids.max", std::to_string(limits.processes));
  return group;
}

Result<void> delete_vm_cgroup(const std::string& vm) {
  const std::optional<std::string> root = cgroup_root();
  if (!root) return {};
  const std::string path = *root + "/" + group_of(vm);
  const auto deadline = std::chrono::steady_clock::now() + kEmptyLimit;
  // What is killed leaves it a moment later.
  while (rmdir(path.c_str()) != 0 && errno != ENOENT) {
    const int err = errno;
    if (err != EBUSY || std::chrono::steady_clock::now() > deadline)
      return fail_errno(err, "remove cgroup '" + path + "'");
    (void)put(path + "/cgroup.kill", "1");  // from 5.14 on
    await_empty(path, deadline);
  }
  (void)rmdir((*root + "/" + kParent).c_str());  // with the last VM
  return {};
}

}  // namespace slicer::runner
