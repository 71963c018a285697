#pragma once
// Kernels for hypervisors that load no bzImage: the ELF file inside it.

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

/// The path of a kernel that can be loaded as it is: `path` itself when it is one (ELF; Image on arm64), else what is
/// packed in it (gzip, xz, zstd or LZ4), unpacked once and kept in `cache` under a hash of the packed file. Errors:
/// kInvalidConfig (no kernel, or packed otherwise), kUnsupportedKernel (its configuration, where it can be read, lacks
/// what a microVM's devices need), kSystem.
Result<std::string> loadable_kernel(const std::string& path, const std::string& cache);

// Its parts, for tests.

/// The part of a bzImage that is packed; of a gzip file all. Error: kInvalidConfig.
Result<std::string_view> packed_payload(std::string_view image);
/// Whether a loader takes it as it is.
bool is_loadable(std::string_view image);
/// The options (CONFIG_…=y) that a kernel's configuration lacks; empty: none, or it is not known.
std::vector<std::string> lacking_options(std::string_view config);

}  // namespace slicer::runner
