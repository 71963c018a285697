#include "runner/map/xml_text.h"

#include <algorithm>
#include <cstdint>

#include "lib/base/utf8.h"

namespace slicer::runner {
namespace {

std::string escaped(std::string_view character) {
  if (character.size() > 1) return std::string(character);
  switch (character.front()) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&apos;";
    default:
      break;
  }
  const auto byte = static_cast<uint8_t>(character.front());
  return byte < 0x20 || byte == 0x7f ? "?" : std::string(character);
}

}  // namespace

std::string xml_text(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t length = utf8_length(text);
    result += length == 0 ? "?" : escaped(text.substr(0, length));
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return result;
}

}  // namespace slicer::runner
