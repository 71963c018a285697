#pragma once
// Colours for people: only on a terminal, and never where NO_COLOR is set (https://no-color.org) or TERM is "dumb".

#include <string>
#include <string_view>

namespace slicer::runner {

enum class Colour { kNone, kGreen, kYellow, kRed, kDim, kBold };

/// Whether standard output is to have colours.
bool stdout_has_colours();

/// `text` in that colour, whatever stdout_has_colours() says.
std::string coloured(std::string_view text, Colour colour);

/// Of a VM's state.
Colour colour_of_state(std::string_view state);

}  // namespace slicer::runner
