#pragma once
// What the key "image" of a host group names.

#include <string>

#include "lib/base/result.h"
#include "runner/guest/image.h"

namespace slicer::runner {

/// An image folder, or the parts that a YAML file names.
struct GroupImage {
  std::string folder = {};    ///< empty: the demo image, or `parts`
  ImageOverrides parts = {};  ///< whole when the image is a file
};

/// Looks at what the path is. A YAML file has the keys kernel (needed), initrd, disk and cmdline; its paths are
/// absolute or begin at its folder. Errors: kNotFound, kInvalidConfig with file, line, column and key.
Result<GroupImage> read_group_image(const std::string& path);

}  // namespace slicer::runner
