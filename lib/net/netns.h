#pragma once
// Network namespaces: opened once and held by descriptor, entered only to open something that belongs to them.

#include <sys/types.h>

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::net {

/// An open network namespace; holds it alive.
class Netns {
 public:
  /// Opens a namespace file (a symbolic link on the way, as /var/run, is fine).
  /// Errors: kNotFound (absent), kInvalidEnvironment (no network namespace: a leftover mount point), kSystem.
  static Result<Netns> open(const std::string& path);
  /// The calling thread's own.
  static Result<Netns> current();

  [[nodiscard]] int fd() const { return fd_.get(); }
  /// As given to open(); current(): "/proc/thread-self/ns/net".
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Whether both are one namespace (device and inode).
  [[nodiscard]] bool is_same(const Netns& other) const { return device_ == other.device_ && inode_ == other.inode_; }

 private:
  Netns(UniqueFd fd, std::string path, dev_t device, ino_t inode)
      : fd_(std::move(fd)), path_(std::move(path)), device_(device), inode_(inode) {}
  static Result<Netns> open_file(const std::string& path);

  UniqueFd fd_;
  std::string path_;
  dev_t device_;
  ino_t inode_;
};

/// While it lives the calling thread is in another namespace. The way back is opened first; should it fail all the
/// same, the process aborts rather than go on in the wrong namespace.
class ScopedNetns {
 public:
  static Result<ScopedNetns> enter(const Netns& ns);
  ScopedNetns(ScopedNetns&&) noexcept = default;
  ScopedNetns& operator=(ScopedNetns&&) = delete;
  ~ScopedNetns();

 private:
  explicit ScopedNetns(UniqueFd back) : back_(std::move(back)) {}
  UniqueFd back_;  ///< invalid: nothing was entered
};

/// Makes a new namespace and binds it to `path` ("/run/netns/NAME"), its loopback up; the caller's thread stays where
/// it is. The folder is made when absent, shared as iproute2 shares it. A leftover file without a namespace on it, as
/// a crash leaves, is taken over. Errors: kExists (a namespace is bound there), kSystem.
Result<void> create_named_netns(const std::string& path);

/// Unbinds and removes `path`; absent is success, a leftover file without a namespace goes too. The namespace itself
/// lives until its last process and descriptor are gone.
Result<void> delete_named_netns(const std::string& path);

}  // namespace slicer::net
