#include "lib/cni/json.h"

#include <doctest/doctest.h>

namespace slicer::cni {

TEST_CASE("parse_json: hostile text is kDecode, never a crash") {
  const std::string unclosed(5000, '[');
  const std::string texts[] = {"",
                               " ",
                               "{",
                               R"({"a":)",
                               R"({"a": 1,})",
                               R"({"a": "\ud800"})",
                               R"({"a": 01})",
                               "{\"a\": \"\xff\"}",
                               "{\"a\": \"\xc3\"}",
                               "{} {}",
                               std::string("{}\0", 3),
                               std::string("{}\0{}", 5),
                               "// comment\n{}",
                               "nul",
                               R"({"a": 1e999})",
                               R"({"a": "b)",
                               std::string("{\"a\": \"\0\"}", 10),
                               unclosed};
  for (const std::string& text : texts) {
    CAPTURE(text);
    const Result<Json> json = parse_json(text);
    REQUIRE(!json);
    CHECK(json.error().kind == Kind::kDecode);
    CHECK(json.error().message.starts_with("parse JSON"));
  }
}

TEST_CASE("parse_json: the message has the place") {
  CHECK(parse_json(R"({"a": ?})").error().message.find("byte 7") != std::string::npos);
}

TEST_CASE("parse_json: 64 levels are enough, brackets in strings do not count") {
  const std::string nested = std::string(64, '[') + std::string(64, ']');
  CHECK(parse_json(nested).has_value());
  CHECK(parse_json("[" + nested + "]").error().message.find("deeper than 64") != std::string::npos);
  CHECK(parse_json("[\"" + std::string(1000, '[') + "\\\"" + std::string(1000, '{') + "\"]").has_value());
}

TEST_CASE("parse_json: of two equal keys the last one counts, as for Go's runtimes") {
  CHECK(parse_json(R"({"a": 1, "a": 2})").value().at("a") == 2);
}

TEST_CASE("dump_json: bytes that are not UTF-8 are replaced") {
  CHECK(dump_json(Json("a\xff")) == "\"a\xef\xbf\xbd\"");
}

}  // namespace slicer::cni
