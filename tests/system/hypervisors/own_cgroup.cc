#include "tests/system/hypervisors/own_cgroup.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runner/hypervisor/vm_cgroup.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPlace = "/run/whole-cgroup";

// "0::/user.slice"
std::string own_path() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::")) return line.substr(3);
  return {};
}

}  // namespace

void OwnCgroup::move_to(const std::string& folder) {
  std::ofstream procs(folder + "/cgroup.procs");
  procs << getpid() << std::flush;
  if (!procs) give_up("move to " + folder);
}

bool OwnCgroup::make() {
  // The hierarchy as it is outside, held by a descriptor: who looks through the mounts is to find only ours.
  fs::create_directories(kPlace);
  if (mount("none", kPlace, "cgroup2", 0, nullptr) != 0) return false;
  whole_ = UniqueFd(open(kPlace, O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (umount2(kPlace, MNT_DETACH) != 0) return false;
  const std::string whole = "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(whole_.get());
  home_ = whole + own_path();
  std::string group = whole + "/slicer-test-XXXXXX";  // process ids are those of a namespace
  if (mkdtemp(group.data()) == nullptr) return false;
  group_ = group;
  old_ = UniqueFd(open("/proc/self/ns/cgroup", O_RDONLY | O_CLOEXEC));
  move_to(group_);
  if (unshare(CLONE_NEWCGROUP) != 0) return false;
  // Mounts that this test's /sys covers are still in the list that programs look through.
  const std::optional<std::string> seen = runner::find_cgroup_root(contents("/proc/self/mounts"));
  root_ = seen.value_or("/sys/fs/cgroup");
  if (root_ != "/sys/fs/cgroup" && mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, nullptr) != 0) return false;
  fs::create_directories(root_);
  if (mount("none", root_.c_str(), "cgroup2", 0, nullptr) != 0) return false;
  // A group with processes of its own gives its children no controllers.
  fs::create_directories(root_ + "/self");
  move_to(root_ + "/self");
  return true;
}

OwnCgroup::OwnCgroup() {
  if (!make()) missing_ = std::string("no cgroup v2 hierarchy can be had: ") + strerror(errno);
}

OwnCgroup::~OwnCgroup() {
  if (old_.valid() && setns(old_.get(), CLONE_NEWCGROUP) != 0) give_up("leave the cgroup namespace");
  if (group_.empty()) return;
  move_to(home_);
  // What a failed case left goes too.
  (void)run({"sh", "-c", "echo 1 >'" + group_ + "/cgroup.kill'"});
  const bool removed = eventually([&] { return run({"find", group_ + "/", "-depth", "-type", "d", "-delete"}).ok(); });
  if (!removed) give_up("remove " + group_);
}

}  // namespace slicer::test
