#include "lib/base/visible_text.h"

#include <algorithm>
#include <cstdint>

#include "lib/base/utf8.h"

namespace slicer {
namespace {

constexpr char kEscape = 0x1b;
constexpr size_t kMaxColour = 32;    // "\e[38;2;255;255;255;48;2;…m" is cut by nobody; a longer one is shown
constexpr size_t kMaxCharacter = 4;  // of UTF-8
constexpr const char* kHex = "0123456789abcdef";

/// How a piece of the input is written, and how much of the input that is; `used` 0: more must come to tell.
struct Piece {
  size_t used = 0;
  std::string text = {};
};

std::string hex(uint32_t value, int digits) {
  std::string text;
  for (int shift = (digits - 1) * 4; shift >= 0; shift -= 4)
    text += kHex[(value >> static_cast<unsigned>(shift)) & 15U];
  return text;
}

std::string caret(char c) { return {'^', static_cast<char>(c ^ 0x40)}; }

Piece escape_piece(std::string_view text, bool more) {
  size_t at = 1;
  if (at < text.size() && text[at] == '[') {
    do ++at;
    while (at < text.size() && at < kMaxColour &&
           ((text[at] >= '0' && text[at] <= '9') || text[at] == ';' || text[at] == ':'));
  }
  if (at < text.size()) return text[at] == 'm' && at > 1 ? Piece{.used = at + 1} : Piece{.used = 1, .text = "^["};
  return more ? Piece{} : Piece{.used = 1, .text = "^["};
}

Piece return_piece(std::string_view text, bool more) {
  if (text.size() > 1) return {.used = 1, .text = text[1] == '\n' || text[1] == '\r' ? "" : "^M"};
  return more ? Piece{} : Piece{.used = 1, .text = "^M"};
}

/// Of two or three bytes: C1 (U+0080-U+009F), and what turns the direction (U+202A-E, U+2066-9).
bool is_control(uint32_t code) {
  return (code >= 0x80 && code <= 0x9f) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

uint32_t code_of(std::string_view character) {
  const auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<uint8_t>(character[at])); };
  if (character.size() == 2) return (byte(0) & 0x1fU) << 6U | (byte(1) & 0x3fU);
  if (character.size() == 3) return (byte(0) & 0x0fU) << 12U | (byte(1) & 0x3fU) << 6U | (byte(2) & 0x3fU);
  return 0;
}

/// The first bytes of a character whose others may still come: with some of these behind them they are one.
bool may_begin_character(std::string_view text) {
  for (const std::string_view others : {"\x80", "\x80\x80", "\xa0\x80", "\x90\x80\x80", "\x80\x80\x80"})
    if (text.size() + others.size() <= kMaxCharacter && utf8_length(std::string(text).append(others)) != 0) return true;
  return false;
}

Piece high_piece(std::string_view text, bool more) {
  const size_t length = utf8_length(text);
  if (length == 0 && more && may_begin_character(text)) return {};
  if (length == 0) return {.used = 1, .text = "\\x" + hex(static_cast<uint8_t>(text[0]), 2)};
  const std::string_view character = text.substr(0, length);
  if (const uint32_t code = code_of(character); is_control(code)) return {.used = length, .text = "\\u" + hex(code, 4)};
  return {.used = length, .text = std::string(character)};
}

bool is_plain(char c) { return c == '\n' || c == '\t' || (c >= 0x20 && c < 0x7f); }

Piece next_piece(std::string_view text, bool more) {
  const char c = text[0];
  if (is_plain(c)) {
    const auto* const end = std::ranges::find_if_not(text, is_plain);
    const auto length = static_cast<size_t>(end - text.begin());
    return {.used = length, .text = std::string(text.substr(0, length))};
  }
  if (c == kEscape) return escape_piece(text, more);
  if (c == '\r') return return_piece(text, more);
  if (static_cast<uint8_t>(c) < 0x80) return {.used = 1, .text = caret(c)};
  return high_piece(text, more);
}

/// @return how much of `text` was used.
size_t translate(std::string_view text, bool more, std::string& shown) {
  size_t at = 0;
  while (at < text.size()) {
    const Piece piece = next_piece(text.substr(at), more);
    if (piece.used == 0) break;
    shown += piece.text;
    at += piece.used;
  }
  return at;
}

}  // namespace

std::string VisibleText::take(std::string_view bytes) {
  std::string shown;
  kept_ += bytes;
  kept_.erase(0, translate(kept_, true, shown));
  return shown;
}

std::string VisibleText::rest() {
  std::string shown;
  (void)translate(kept_, false, shown);
  kept_.clear();
  return shown;
}

std::string visible_text(std::string_view text) {
  std::string shown;
  (void)translate(text, false, shown);
  return shown;
}

}  // namespace slicer
