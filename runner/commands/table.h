#pragma once
// A table of words for people.

#include <string>
#include <vector>

namespace slicer::runner {

/// Columns padded to their widest cell, two blanks between them, none at the end of a line. The first row is the head.
std::string table_text(const std::vector<std::vector<std::string>>& rows);

}  // namespace slicer::runner
