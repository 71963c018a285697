#include "runner/view/colour.h"

#include <unistd.h>

#include <cstdlib>

namespace slicer::runner {
namespace {

// ECMA-48, "select graphic rendition".
const char* code_of(Colour colour) {
  switch (colour) {
    case Colour::kGreen:
      return "32";
    case Colour::kYellow:
      return "33";
    case Colour::kRed:
      return "31";
    case Colour::kDim:
      return "2";
    case Colour::kBold:
      return "1";
    case Colour::kNone:
      break;
  }
  return "";
}

}  // namespace

bool stdout_has_colours() {
  const char* const refused = std::getenv("NO_COLOR");
  if (refused != nullptr && *refused != '\0') return false;
  const char* const terminal = std::getenv("TERM");
  if (terminal != nullptr && std::string_view(terminal) == "dumb") return false;
  return isatty(STDOUT_FILENO) == 1;
}

std::string coloured(std::string_view text, Colour colour) {
  if (colour == Colour::kNone || text.empty()) return std::string(text);
  return "\033[" + std::string(code_of(colour)) + "m" + std::string(text) + "\033[0m";
}

Colour colour_of_state(std::string_view state) {
  if (state == "running") return Colour::kGreen;
  if (state == "dead" || state.ends_with("no link")) return Colour::kRed;
  if (state == "stopped") return Colour::kDim;
  return Colour::kYellow;
}

}  // namespace slicer::runner
