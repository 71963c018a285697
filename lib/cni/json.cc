#include "lib/cni/json.h"

namespace slicer::cni {
namespace {

constexpr int kMaxDepth = 64;

// The deepest nesting of brackets outside strings; good enough for text that is not JSON, which the parser refuses.
int nesting_depth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '{' || c == '[')) {
      deepest = std::max(deepest, ++depth);
    } else if (!in_string && (c == '}' || c == ']')) {
      --depth;
    }
  }
  return deepest;
}

// nlohmann's text is "[json.exception.parse_error.101] parse error at line 1, column 2: cause"; the cause is for us.
std::string cause_of(const Json::exception& error) {
  std::string_view text = error.what();
  if (const size_t tag = text.find("] "); tag != std::string_view::npos) text.remove_prefix(tag + 2);
  if (const size_t place = text.find(": "); place != std::string_view::npos) text.remove_prefix(place + 2);
  return std::string(text.substr(0, 200));
}

}  // namespace

Result<Json> parse_json(std::string_view text) {
  // The parser takes one for the end, and whatever follows it for nothing.
  if (const size_t place = text.find('\0'); place != std::string_view::npos)
    return fail(Kind::kDecode, "parse JSON: byte " + std::to_string(place + 1) + ": a NUL byte");
  if (nesting_depth(text) > kMaxDepth)
    return fail(Kind::kDecode, "parse JSON: nested deeper than " + std::to_string(kMaxDepth) + " levels");
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    return fail(Kind::kDecode, "parse JSON: byte " + std::to_string(error.byte) + ": " + cause_of(error));
  } catch (const Json::exception& error) {  // a number that no type holds
    return fail(Kind::kDecode, "parse JSON: " + cause_of(error));
  }
}

std::string dump_json(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace slicer::cni
