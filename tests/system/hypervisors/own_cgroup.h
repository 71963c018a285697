#pragma once
// A test's own cgroup v2 hierarchy: the root of a cgroup namespace, at the place where programs look for it.

#include <string>

#include "lib/base/unique_fd.h"

namespace slicer::test {

/// The test process and its children are in it while the object lives; only within a Host's mount namespace.
class OwnCgroup {
 public:
  OwnCgroup();
  OwnCgroup(const OwnCgroup&) = delete;
  OwnCgroup& operator=(const OwnCgroup&) = delete;
  ~OwnCgroup();

  /// Why there is none; empty: there is.
  [[nodiscard]] const std::string& missing() const { return missing_; }
  [[nodiscard]] const std::string& root() const { return root_; }

 private:
  bool make();
  void move_to(const std::string& folder);

  std::string missing_ = {};
  std::string root_ = {};   ///< where the test sees it
  UniqueFd whole_ = {};     ///< the hierarchy outside
  std::string home_ = {};   ///< where the process was in it
  std::string group_ = {};  ///< its own there
  UniqueFd old_ = {};       ///< the cgroup namespace it came from
};

}  // namespace slicer::test
