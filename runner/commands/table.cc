#include "runner/commands/table.h"

#include <algorithm>

namespace slicer::runner {

std::string table_text(const std::vector<std::vector<std::string>>& rows, const CellColour& colour_of) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (size_t at = 0; at < rows.size(); ++at) {
    const auto& row = rows[at];
    size_t cells = row.size();
    while (cells > 0 && row[cells - 1].empty()) --cells;
    for (size_t i = 0; i < cells; ++i) {
      text += colour_of ? coloured(row[i], colour_of(at, i, row[i])) : row[i];
      if (i + 1 < cells) text.append(widths[i] + 2 - row[i].size(), ' ');
    }
    text += "\n";
  }
  return text;
}

}  // namespace slicer::runner
