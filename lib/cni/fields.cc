#include "lib/cni/fields.h"

#include <algorithm>

namespace slicer::cni {
namespace {

// A value as a message shows it: its JSON, shortened.
std::string shown(const Json& value) {
  constexpr size_t kMost = 64;
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list";
  std::string text = dump_json(value);
  if (text.size() <= kMost) return text;
  size_t cut = kMost;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xc0U) == 0x80U) --cut;  // not inside a UTF-8 character
  return text.substr(0, cut) + "...";
}

std::string quoted(const char* key) { return "\"" + std::string(key) + "\""; }

// What a key wants, and how that is written.
struct Type {
  const char* name;
  const char* form;
};
constexpr Type kString{"a string", "a JSON string, in double quotes"};
constexpr Type kBool{"true or false", "true or false, without quotes"};
constexpr Type kInteger{"an integer", "a whole JSON number, without quotes"};
constexpr Type kStrings{"a list of strings", R"(a JSON list of strings: ["…", "…"])"};
constexpr Type kObject{"an object", "a JSON object, in braces"};
constexpr Type kList{"a list", "a JSON list, in brackets"};

// `place` is a quoted key, with an index behind it for an item of a list.
std::unexpected<Error> wrong_type(const std::string& place, Type expected, const Json& value) {
  return fail(Kind::kInvalidConfig, place + ": expected " + expected.name + ", got " + shown(value),
              "write " + place + " as " + expected.form);
}

// The member `key`, or null for absent and for an explicit null.
Result<const Json*> member(const Json& json, const char* key) {
  if (json.is_null()) return nullptr;
  if (!json.is_object())
    return fail(Kind::kInvalidConfig, "read " + quoted(key) + ": expected an object around it, got " + shown(json));
  const Json* found = find_key(json, key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string allowed(Bounds bounds) {
  if (bounds.high == INT64_MAX) return "allowed: " + std::to_string(bounds.low) + " or more";
  if (bounds.low == INT64_MIN) return "allowed: " + std::to_string(bounds.high) + " or less";
  return "allowed: " + std::to_string(bounds.low) + "-" + std::to_string(bounds.high);
}

// JSON can write one; a path, a name or an address with one would be cut off there by the kernel.
Result<std::string> without_nul(const std::string& place, const Json& value) {
  const auto& text = value.get_ref<const std::string&>();
  if (text.find('\0') == std::string::npos) return text;
  return fail(Kind::kInvalidConfig, place + ": " + shown(value) + " has a NUL character", "leave it out");
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool same_key(std::string_view a, std::string_view b) { return std::ranges::equal(a, b, {}, lower, lower); }

const Json* find_key(const Json& json, std::string_view key) {
  if (!json.is_object()) return nullptr;
  if (const auto found = json.find(key); found != json.end()) return &*found;
  for (const auto& [name, value] : json.items())
    if (same_key(name, key)) return &value;
  return nullptr;
}

Result<std::string> string_field(const Json& json, const char* key, std::string fallback) {
  const Json* value = TRY(member(json, key));
  if (value == nullptr) return fallback;
  if (!value->is_string()) return wrong_type(quoted(key), kString, *value);
  return without_nul(quoted(key), *value);
}

Result<bool> bool_field(const Json& json, const char* key, bool fallback) {
  return TRY(optional_bool_field(json, key)).value_or(fallback);
}

Result<std::optional<bool>> optional_bool_field(const Json& json, const char* key) {
  const Json* value = TRY(member(json, key));
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return wrong_type(quoted(key), kBool, *value);
  return value->get<bool>();
}

Result<int64_t> int_field(const Json& json, const char* key, int64_t fallback, Bounds bounds) {
  return TRY(optional_int_field(json, key, bounds)).value_or(fallback);
}

Result<std::optional<int64_t>> optional_int_field(const Json& json, const char* key, Bounds bounds) {
  const Json* value = TRY(member(json, key));
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) return wrong_type(quoted(key), kInteger, *value);
  const bool too_large = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  const int64_t number = too_large ? INT64_MAX : value->get<int64_t>();
  if (too_large || number < bounds.low || number > bounds.high)
    return fail(Kind::kInvalidConfig,
                quoted(key) + ": " + shown(*value) + " is out of range (" + allowed(bounds) + ")");
  return number;
}

Result<std::vector<std::string>> strings_field(const Json& json, const char* key) {
  const Json* value = TRY(member(json, key));
  std::vector<std::string> list;
  if (value == nullptr) return list;
  if (!value->is_array()) return wrong_type(quoted(key), kStrings, *value);
  for (const Json& item : *value) {
    const std::string place = quoted(key) + "[" + std::to_string(list.size()) + "]";
    if (!item.is_string()) return wrong_type(place, kString, item);
    list.push_back(TRY(without_nul(place, item)));
  }
  return list;
}

Result<Json> object_field(const Json& json, const char* key) {
  const Json* value = TRY(member(json, key));
  if (value == nullptr) return Json::object();
  if (!value->is_object()) return wrong_type(quoted(key), kObject, *value);
  return *value;
}

Result<Json> array_field(const Json& json, const char* key) {
  const Json* value = TRY(member(json, key));
  if (value == nullptr) return Json::array();
  if (!value->is_array()) return wrong_type(quoted(key), kList, *value);
  return *value;
}

Result<Json> nested_field(const Json& json, std::initializer_list<const char*> keys) {
  const Json* value = &json;
  const char* outer = nullptr;
  for (const char* key : keys) {
    if (outer != nullptr && !value->is_object()) return wrong_type(quoted(outer), kObject, *value);
    value = TRY(member(*value, key));
    if (value == nullptr) return Json();
    outer = key;
  }
  return *value;
}

}  // namespace slicer::cni
