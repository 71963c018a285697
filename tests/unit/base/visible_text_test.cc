#include "lib/base/visible_text.h"

#include <doctest/doctest.h>

#include <random>

#include "lib/base/utf8.h"

using slicer::visible_text;
using slicer::VisibleText;

TEST_CASE("visible_text: text, newlines and tabs stay, colours go, other control characters are shown") {
  CHECK(visible_text("a\tb\nZürich €\xf0\x9f\x98\x80").compare("a\tb\nZürich €\xf0\x9f\x98\x80") == 0);
  CHECK(visible_text("\x1b[1;32mgreen\x1b[0m\x1b[m \x1b[38:2:1:2:3mx") == "green x");
  CHECK(visible_text("\x1b[2J\x1b]0;title\x07\x1b[6n\x1b") == "^[[2J^[]0;title^G^[[6n^[");
  CHECK(visible_text("a\r\nb\r\r\nc\rd\r") == "a\nb\nc^Md^M");
  CHECK(visible_text(std::string("\0\x7f\b", 3)) == "^@^?^H");
  CHECK(visible_text("\x9b"
                     "31m\xff") == "\\x9b31m\\xff");  // CSI in one byte
  CHECK(visible_text("\xc2\x9b\xe2\x80\xae\xe2\x81\xa9") == "\\u009b\\u202e\\u2069");
  CHECK(visible_text("\xe2\x82") == "\\xe2\\x82");  // half a character
  CHECK(visible_text("\x1b[" + std::string(100, '1') + "m").starts_with("^[[111"));
}

TEST_CASE("VisibleText: the pieces that bytes come in make no difference") {
  const std::string bytes =
      "x\x1b[1;32my\r\n\xe2\x82\xac\xf0\x9f\x98\x80\xe0\xa4\x85\xed\x9f\xbf\xf4\x8f\xbf\xbf\xe2\x80\xae\xed\xa0\x80"
      "\x1b[2J\r\rz\xc3";
  for (size_t size = 1; size < bytes.size(); ++size) {
    CAPTURE(size);
    VisibleText text;
    std::string shown;
    for (size_t at = 0; at < bytes.size(); at += size) shown += text.take(std::string_view(bytes).substr(at, size));
    CHECK(shown + text.rest() == visible_text(bytes));
    CHECK(text.rest().empty());
  }
}

TEST_CASE("VisibleText: nothing is kept that no more bytes would change") {
  VisibleText text;
  CHECK(text.take("login: ") == "login: ");
  CHECK(text.take("\xff") == "\\xff");
  CHECK(text.take("\xe0\x80") == "\\xe0\\x80");  // overlong: no character begins so
  CHECK(text.take("\x1b[") == "");
  CHECK(text.take("K") == "^[[K");
}

TEST_CASE("visible_text: whatever comes, what is left is characters without control") {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same every time
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(40, 0);
    for (char& c : bytes)
      c = static_cast<char>(random() % 4 == 0 ? "\x1b[m;\r\xc2\xe2\x80"[random() % 8]
                                              : static_cast<int>(random() % 256));
    std::string shown = visible_text(bytes);
    std::string_view left = shown;
    while (!left.empty()) {
      const size_t length = slicer::utf8_length(left);
      REQUIRE(length != 0);
      const auto first = static_cast<unsigned char>(left[0]);
      REQUIRE((length > 1 || first == '\n' || first == '\t' || (first >= 0x20 && first != 0x7f)));
      REQUIRE_FALSE((first == 0xc2 && static_cast<unsigned char>(left[1]) < 0xa0));
      left.remove_prefix(length);
    }
  }
}
