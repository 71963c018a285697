#include "runner/hypervisor/jail.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace slicer::runner {
namespace {

// A detached mount of what the descriptor is of: made in the mount namespace that it was opened in, attached in
// another.
int clone_mount(const JailEntry& entry) {
  const int tree = open_tree(entry.fd, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (tree < 0) return -1;
  mount_attr attributes = {};
  attributes.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
  if (!entry.writable) attributes.attr_set |= MOUNT_ATTR_RDONLY;
  attributes.propagation = MS_PRIVATE;
  if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) != 0) return -1;
  return tree;
}

bool make_file(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
  return fd >= 0 && close(fd) == 0;
}

const char* show(const JailEntry& entry, int tree) {
  const bool made = entry.folder ? mkdir(entry.path.c_str(), 0700) == 0 : make_file(entry.path);
  if (!made) return "make a name in the jail";
  if (move_mount(tree, "", AT_FDCWD, entry.path.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0)
    return "show a file in the jail";
  return nullptr;
}

const char* show_netns(const JailSpec& jail) {
  if (jail.netns < 0) return nullptr;
  if (!make_file(jail.netns_path)) return "make a name in the jail";
  const std::string source = fmt::format("/proc/self/fd/{}", jail.netns);
  // Unlike other files' these may be mounted in any mount namespace: fs/namespace.c, __do_loopback().
  return mount(source.c_str(), jail.netns_path.c_str(), nullptr, MS_BIND, nullptr) == 0
             ? nullptr
             : "show the network namespace in the jail";
}

const char* mount_base(const JailSpec& jail) {
  if (unshare(CLONE_NEWNS) != 0) return "make a mount namespace";
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "make mounts private";
  const std::string options = fmt::format("size={},nr_inodes=128,mode=0711", jail.bytes);
  // Where it is, nodev and noexec may hold (/run): not in it.
  if (mount("tmpfs", jail.base.c_str(), "tmpfs", MS_NOSUID, options.c_str()) != 0) return "mount the jail's folder";
  return nullptr;
}

}  // namespace

const char* build_jail(const JailSpec& jail) {
  std::vector<int> trees;
  for (const JailEntry& entry : jail.entries) {
    trees.push_back(clone_mount(entry));
    if (trees.back() < 0) return "take a file to the jail";
  }
  if (const char* failed = mount_base(jail)) return failed;
  for (const std::string& folder : jail.folders)
    if (mkdir(folder.c_str(), 0711) != 0) return "make a folder in the jail";
  for (size_t i = 0; i < trees.size(); ++i)
    if (const char* failed = show(jail.entries[i], trees[i])) return failed;
  if (const char* failed = show_netns(jail)) return failed;
  // Its mode is the umask's otherwise.
  if (mknod(jail.null.c_str(), S_IFCHR | 0600U, makedev(1, 3)) != 0 || chmod(jail.null.c_str(), 0666) != 0)
    return "make a device node in the jail";
  return nullptr;
}

const char* keep_jailer_capabilities() {
  // Mounts, pivot_root and namespaces; nodes; its files' owner, and what lies in folders that it gave away; its user.
  constexpr std::array<unsigned long, 6> kNeeded = {CAP_SYS_ADMIN,    CAP_MKNOD,  CAP_CHOWN,
                                                    CAP_DAC_OVERRIDE, CAP_SETUID, CAP_SETGID};
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    if (std::ranges::find(kNeeded, capability) == kNeeded.end() && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
      return "drop capabilities";
  // At the exec root's are those of the bounding set, and no more than it had: capabilities(7).
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 ? nullptr : "set no_new_privs";
}

}  // namespace slicer::runner
