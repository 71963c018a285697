#pragma once
// The little of qcow2 that a runner needs: an empty image, and the size of one. Source: QEMU,
// docs/interop/qcow2.txt.

#include <cstdint>
#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

/// An image in which nothing is written yet.
struct Qcow2Spec {
  uint64_t bytes = 0;     ///< as the guest sees it; a multiple of 512
  std::string base = {};  ///< what shows through; empty: zeros
  std::string base_format = {};
};

/// Writes it to an empty file. Errors: kInvalidConfig (a base whose path is too long), kSystem.
Result<void> write_qcow2(int file, const Qcow2Spec& spec);

/// The guest's size of an image. Errors: kDecode (it is none), kSystem.
Result<uint64_t> qcow2_size(int file);

/// Makes an image larger, in place and at once. False when its tables have no room for that.
Result<bool> grow_qcow2(int file, uint64_t bytes);

}  // namespace slicer::runner
