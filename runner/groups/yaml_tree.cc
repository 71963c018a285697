#include "runner/groups/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>

namespace slicer::runner {
namespace {

// Far above any real file; aliases of aliases would otherwise grow without bound.
constexpr size_t kMaxValues = 500000;
constexpr int kMaxDepth = 32;

Place place_of(const YAML::Mark& mark) { return {.line = mark.line + 1, .column = mark.column + 1}; }

// yaml-cpp's nodes as ours. Its calls may throw: only parse_yaml() uses it.
class Converter {
 public:
  explicit Converter(const std::string& file) : file_(file) {}

  Result<YamlValue> convert(const YAML::Node& node, int depth) {
    YamlValue value;
    value.place = place_of(node.Mark());
    if (++count_ > kMaxValues || depth > kMaxDepth)
      return fail(Kind::kDecode, fmt::format("{}:{}:{}: too {}", file_, value.place.line, value.place.column,
                                             depth > kMaxDepth ? "deeply nested" : "many values"));
    if (node.IsScalar()) {
      value.type = YamlValue::Type::kScalar;
      value.text = node.Scalar();
      value.quoted = node.Tag() == "!";
    }
    if (node.IsSequence()) TRY(convert_list(node, depth, value));
    if (node.IsMap()) TRY(convert_map(node, depth, value));
    return value;
  }

 private:
  Result<void> convert_list(const YAML::Node& node, int depth, YamlValue& value) {
    value.type = YamlValue::Type::kList;
    for (const YAML::Node& item : node) {
      value.items.push_back(TRY(convert(item, depth + 1)));
      // What is not there has the place of what follows: the list's is better.
      if (value.items.back().type == YamlValue::Type::kNull) value.items.back().place = value.place;
    }
    return {};
  }

  Result<void> convert_map(const YAML::Node& node, int depth, YamlValue& value) {
    value.type = YamlValue::Type::kMap;
    for (const auto& pair : node) {
      const YAML::Node& key = pair.first;
      const Place place = place_of(key.Mark());
      if (!key.IsScalar()) return at(place, "a key that is no text");
      if (value.find(key.Scalar()) != nullptr) return at(place, fmt::format("\"{}\" is there twice", key.Scalar()));
      YamlValue::Member member;
      member.key = key.Scalar();
      member.place = place;
      member.value = TRY(convert(pair.second, depth + 1));
      if (member.value.type == YamlValue::Type::kNull) member.value.place = place;  // "key:" has none of its own
      value.members.push_back(std::move(member));
    }
    return {};
  }

  std::unexpected<Error> at(Place place, const std::string& message) const {
    return fail(Kind::kDecode, fmt::format("{}:{}:{}: {}", file_, place.line, place.column, message));
  }

  const std::string& file_;
  size_t count_ = 0;
};

}  // namespace

const YamlValue* YamlValue::find(std::string_view key) const {
  const auto found = std::ranges::find(members, key, &Member::key);
  return found == members.end() ? nullptr : &found->value;
}

Result<YamlValue> parse_yaml(const std::string& text, const std::string& file) {
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) {
      const Place place = place_of(documents[1].Mark());
      return fail(Kind::kDecode, fmt::format("{}:{}:{}: a second document", file, place.line, place.column),
                  "write all host groups in one list");
    }
    return documents.empty() ? YamlValue{} : Converter(file).convert(documents.front(), 0);
  } catch (const YAML::Exception& error) {
    const Place place = place_of(error.mark);
    if (error.mark.is_null()) return fail(Kind::kDecode, fmt::format("{}: {}", file, error.msg));
    return fail(Kind::kDecode, fmt::format("{}:{}:{}: {}", file, place.line, place.column, error.msg));
  } catch (const std::exception& error) {
    return fail(Kind::kDecode, fmt::format("{}: {}", file, error.what()));
  }
}

std::unexpected<Error> fail_at(const std::string& file, Place place, const std::string& message, std::string hint) {
  return fail(Kind::kInvalidConfig, fmt::format("{}:{}:{}: {}", file, place.line, place.column, message),
              std::move(hint));
}

}  // namespace slicer::runner
