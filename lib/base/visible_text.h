#pragma once
// What others wrote, for a terminal.

#include <string>
#include <string_view>

namespace slicer {

/// Makes bytes harmless to a terminal. Newlines and tabs stay, so does what is UTF-8; a carriage return before a
/// newline goes, and so do colours (ECMA-48's SGR). Every other control character is shown: as "^[" below 0x80, as
/// "\x9b" where no character is, as "\u009b" of UTF-8 (C1, and signs that turn the direction of writing).
class VisibleText {
 public:
  /// The text of the next bytes. The start of a character or a colour is kept until its rest comes.
  std::string take(std::string_view bytes);
  /// What is kept, when nothing more comes.
  std::string rest();

 private:
  std::string kept_ = {};
};

/// All at once.
std::string visible_text(std::string_view text);

}  // namespace slicer
