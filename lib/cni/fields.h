#pragma once
// Typed access to the keys of a configuration. An absent key and an explicit null give the default; a wrong type is an
// error that names the key: {"mtu": "big"} -> kInvalidConfig `"mtu": expected an integer, got "big"`, with a hint that
// says how to write it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cni/json.h"

namespace slicer::cni {

/// Inclusive bounds of an integer key.
struct Bounds {
  int64_t low = INT64_MIN;
  int64_t high = INT64_MAX;
};

/// Whether two keys are the same to Go's encoding/json, with which upstream's plugins read: in any case, so that
/// "isgateway" works with them, and with ours in their place.
bool same_key(std::string_view a, std::string_view b);
/// The member `key` of an object, else one whose key is the same in another case; nullptr when there is none, or no
/// object. An explicit null is a member.
const Json* find_key(const Json& json, std::string_view key);

// `json` must be an object (or null, which reads as an empty one); anything else is kInvalidConfig. `key` names the
// member; messages show it in double quotes.

Result<std::string> string_field(const Json& json, const char* key, std::string fallback = {});
Result<bool> bool_field(const Json& json, const char* key, bool fallback);
Result<std::optional<bool>> optional_bool_field(const Json& json, const char* key);
Result<int64_t> int_field(const Json& json, const char* key, int64_t fallback, Bounds bounds = {});
Result<std::optional<int64_t>> optional_int_field(const Json& json, const char* key, Bounds bounds = {});
/// A list of strings; absent is empty.
Result<std::vector<std::string>> strings_field(const Json& json, const char* key);
/// An object; absent is an empty object.
Result<Json> object_field(const Json& json, const char* key);
/// An array; absent is an empty array.
Result<Json> array_field(const Json& json, const char* key);
/// Follows `keys` through nested objects ("args", "cni"); null when one is absent. Wrong types: kInvalidConfig.
Result<Json> nested_field(const Json& json, std::initializer_list<const char*> keys);

}  // namespace slicer::cni
