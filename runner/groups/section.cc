#include "runner/groups/section.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

namespace slicer::runner {
namespace {

std::string join_path(const std::string& path, std::string_view key) {
  return path.empty() ? std::string(key) : fmt::format("{}.{}", path, key);
}

bool is_null_word(const YamlValue& value) {
  return value.type == YamlValue::Type::kScalar && !value.quoted &&
         (value.text.empty() || value.text == "~" || value.text == "null");
}

}  // namespace

std::string describe(const YamlValue& value) {
  switch (value.type) {
    case YamlValue::Type::kNull:
      return "nothing";
    case YamlValue::Type::kScalar:
      return value.text.size() > 60 ? fmt::format("\"{}…\"", value.text.substr(0, 60)) : '"' + value.text + '"';
    case YamlValue::Type::kList:
      return "a list";
    case YamlValue::Type::kMap:
      return "a section";
  }
  return "?";
}

Result<Section> Section::open(const std::string& file, const YamlValue& value, std::string path,
                              std::span<const Key> keys) {
  Section section(file, value, std::move(path));
  if (value.type != YamlValue::Type::kMap)
    return fail_at(file, value.place,
                   fmt::format("{}expected a section of keys, got {}",
                               section.path_.empty() ? "" : section.path_ + ": ", describe(value)));
  for (const YamlValue::Member& member : value.members) {
    if (find_key(keys, member.key) == nullptr)
      return fail_at(file, member.place, section.path_of(member.key) + ": unknown key", suggest_key(member.key, keys));
  }
  return section;
}

const YamlValue* Section::find(std::string_view key) const {
  const YamlValue* value = value_->find(key);
  return value == nullptr || value->type == YamlValue::Type::kNull || is_null_word(*value) ? nullptr : value;
}

std::string Section::path_of(std::string_view key) const { return join_path(path_, key); }

Result<std::optional<PlacedText>> Section::placed_text(std::string_view key) const {
  const YamlValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->type != YamlValue::Type::kScalar) return bad(key, "expected a text, got " + describe(*value));
  return PlacedText{.text = value->text, .place = value->place, .path = path_of(key)};
}

Result<std::string> Section::text(std::string_view key, std::string fallback) const {
  const std::optional<PlacedText> found = TRY(placed_text(key));
  if (found) return found->text;
  return fallback;
}

Result<std::string> Section::word(std::string_view key, std::span<const std::string_view> words,
                                  std::string fallback) const {
  std::string found = TRY(text(key, std::move(fallback)));
  if (!has(key) || std::ranges::find(words, found) != words.end()) return found;
  return bad(key, fmt::format("\"{}\" is none of {}", found, fmt::join(words, ", ")), suggest(found, words));
}

Result<std::vector<PlacedText>> Section::texts(std::string_view key) const {
  std::vector<PlacedText> found;
  const YamlValue* list = find(key);
  if (list == nullptr) return found;
  if (list->type != YamlValue::Type::kList)
    return bad(key, "expected a list, got " + describe(*list),
               list->type == YamlValue::Type::kScalar ? fmt::format("write [\"{}\"]", list->text) : "");
  for (const YamlValue& item : list->items) {
    PlacedText entry;
    entry.text = item.text;
    entry.place = item.place;
    entry.path = fmt::format("{}[{}]", path_of(key), found.size());
    if (item.type != YamlValue::Type::kScalar || is_null_word(item))
      return bad(entry, "expected a text, got " + (is_null_word(item) ? "nothing" : describe(item)));
    found.push_back(std::move(entry));
  }
  return found;
}

Result<std::vector<PlacedText>> Section::text_or_texts(std::string_view key) const {
  const YamlValue* value = find(key);
  if (value == nullptr || value->type != YamlValue::Type::kScalar) return texts(key);
  return std::vector<PlacedText>{{.text = value->text, .place = value->place, .path = path_of(key)}};
}

Result<uint64_t> Section::number(std::string_view key, uint64_t fallback, uint64_t low, uint64_t high) const {
  const YamlValue* value = find(key);
  if (value == nullptr) return fallback;
  uint64_t number = 0;
  const char* end = value->text.data() + value->text.size();
  const auto [rest, failure] = std::from_chars(value->text.data(), end, number);
  if (value->type != YamlValue::Type::kScalar || value->quoted || failure == std::errc::invalid_argument || rest != end)
    return bad(key, "expected a whole number, got " + describe(*value), value->quoted ? "leave the quotes out" : "");
  if (value->text.size() > 1 && value->text.front() == '0')
    return bad(key, fmt::format("{} begins with 0", value->text),
               fmt::format("write {}: others read {} as octal", number, value->text));
  if (failure != std::errc{} || number < low || number > high)
    return bad(key, fmt::format("{} is not in {}-{}", value->text, low, high));
  return number;
}

Result<bool> Section::truth(std::string_view key, bool fallback) const {
  const YamlValue* value = find(key);
  if (value == nullptr) return fallback;
  const bool plain = value->type == YamlValue::Type::kScalar && !value->quoted;
  for (const std::string_view word : {"true", "True", "TRUE"})
    if (plain && value->text == word) return true;
  for (const std::string_view word : {"false", "False", "FALSE"})
    if (plain && value->text == word) return false;
  return bad(key, "expected true or false, got " + describe(*value), value->quoted ? "leave the quotes out" : "");
}

std::unexpected<Error> Section::bad(std::string_view key, const std::string& message, std::string hint) const {
  const YamlValue* value = value_->find(key);
  const Place place = value == nullptr ? value_->place : value->place;
  return fail_at(*file_, place, fmt::format("{}: {}", path_of(key), message), std::move(hint));
}

std::unexpected<Error> Section::bad(const PlacedText& text, const std::string& message, std::string hint) const {
  return fail_at(*file_, text.place, fmt::format("{}: {}", text.path, message), std::move(hint));
}

}  // namespace slicer::runner
