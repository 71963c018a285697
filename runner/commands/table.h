#pragma once
// A table of words for people.

#include <functional>
#include <string>
#include <vector>

#include "runner/view/colour.h"

namespace slicer::runner {

/// The colour of a cell, by its row (0: the head), its column and its text.
using CellColour = std::function<Colour(size_t row, size_t column, const std::string& text)>;

/// Columns padded to their widest cell, two blanks between them, none at the end of a line. The first row is the head.
std::string table_text(const std::vector<std::vector<std::string>>& rows, const CellColour& colour_of = {});

}  // namespace slicer::runner
