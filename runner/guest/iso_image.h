#pragma once
// Small ISO 9660 images, made in memory.

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

struct IsoFile {
  std::string name = {};
  std::string content = {};
};

/// An image with these files in its root folder, their names kept by Rock Ridge and Joliet. `label` is the volume's, as
/// it stands. Starts a thread that has ended at the return. Error: kInternal, with the library's words.
Result<std::string> iso_image(const std::string& label, const std::vector<IsoFile>& files);

}  // namespace slicer::runner
