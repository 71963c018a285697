#pragma once
// YAML as plain values with their places: the door to yaml-cpp, whose exceptions stay behind it.

#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"

namespace slicer::runner {

/// A place in a text, from 1 as editors count.
struct Place {
  int line = 1;
  int column = 1;
};

/// A value and where it stands; members in the file's order.
struct YamlValue {
  enum class Type { kNull, kScalar, kList, kMap };
  struct Member;

  Type type = Type::kNull;
  std::string text = {};  ///< of a scalar
  bool quoted = false;    ///< a scalar in quotes is a text, whatever it looks like
  Place place = {};
  std::vector<YamlValue> items = {};
  std::vector<Member> members;  // no "= {}": Clang would need Member whole here

  /// A map's member; null when it has none of that name.
  [[nodiscard]] const YamlValue* find(std::string_view key) const;
};

struct YamlValue::Member {
  std::string key = {};
  Place place = {};  ///< of the key
  YamlValue value = {};
};

/// Reads one document; an empty one is null. Aliases are resolved. Errors: kDecode as "FILE:LINE:COLUMN: <cause>" (the
/// syntax, a key that is there twice or is no text, more than one document, nesting or size beyond all reason).
Result<YamlValue> parse_yaml(const std::string& text, const std::string& file);

/// An error at a place: "FILE:LINE:COLUMN: <message>".
std::unexpected<Error> fail_at(const std::string& file, Place place, const std::string& message, std::string hint = {});

}  // namespace slicer::runner
