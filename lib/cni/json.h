#pragma once
// The one JSON type of the project, and its strict, non-throwing door.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::cni {

using Json = nlohmann::json;

/// Parses one JSON document. Errors: kDecode with the byte offset. Nesting deeper than 64 levels is refused (the
/// parser and the destructor recurse).
Result<Json> parse_json(std::string_view text);

/// Serialises; bytes that are not UTF-8 are replaced, so this never throws.
std::string dump_json(const Json& json);

}  // namespace slicer::cni
