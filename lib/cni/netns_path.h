#pragma once
// What CNI_NETNS points to, without entering it.

#include <string>

#include "lib/base/result.h"

namespace slicer::cni {

enum class NetnsPath {
  kAbsent,   ///< nothing there
  kForeign,  ///< something that is no network namespace, like the empty file that a lost mount leaves
  kHost,     ///< the namespace that this process runs in
  kPrivate,  ///< another network namespace
};

/// Errors: kSystem when it cannot be told.
Result<NetnsPath> inspect_netns(const std::string& path);

}  // namespace slicer::cni
