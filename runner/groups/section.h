#pragma once
// Typed access to one map of the YAML. An absent key and one without a value give the default.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runner/groups/keys.h"
#include "runner/groups/yaml_tree.h"

namespace slicer::runner {

/// A text and where it stands.
struct PlacedText {
  std::string text = {};
  Place place = {};
  std::string path = {};  ///< "config.host_groups[0].network.drop[1]"
};

class Section {
 public:
  /// A map whose keys are all known. `path` is what errors call it. Error: kInvalidConfig (no map, an unknown key).
  static Result<Section> open(const std::string& file, const YamlValue& value, std::string path,
                              std::span<const Key> keys);

  [[nodiscard]] bool has(std::string_view key) const { return find(key) != nullptr; }
  [[nodiscard]] const YamlValue* find(std::string_view key) const;  ///< null also when there is no value
  [[nodiscard]] const YamlValue& value() const { return *value_; }
  [[nodiscard]] const std::string& file() const { return *file_; }
  [[nodiscard]] std::string path_of(std::string_view key) const;

  [[nodiscard]] Result<std::string> text(std::string_view key, std::string fallback = {}) const;
  [[nodiscard]] Result<std::optional<PlacedText>> placed_text(std::string_view key) const;
  /// A text that is one of `words`.
  [[nodiscard]] Result<std::string> word(std::string_view key, std::span<const std::string_view> words,
                                         std::string fallback) const;
  [[nodiscard]] Result<std::vector<PlacedText>> texts(std::string_view key) const;
  /// The same, where a text alone is a list of one.
  [[nodiscard]] Result<std::vector<PlacedText>> text_or_texts(std::string_view key) const;
  /// A whole number of low to high.
  [[nodiscard]] Result<uint64_t> number(std::string_view key, uint64_t fallback, uint64_t low, uint64_t high) const;

  /// true or false, as YAML 1.2 writes them.
  [[nodiscard]] Result<bool> truth(std::string_view key, bool fallback) const;

  /// An error at a key's value: "FILE:LINE:COLUMN: <path>.<key>: <message>".
  [[nodiscard]] std::unexpected<Error> bad(std::string_view key, const std::string& message,
                                           std::string hint = {}) const;
  [[nodiscard]] std::unexpected<Error> bad(const PlacedText& text, const std::string& message,
                                           std::string hint = {}) const;

 private:
  Section(const std::string& file, const YamlValue& value, std::string path)
      : file_(&file), value_(&value), path_(std::move(path)) {}

  const std::string* file_;
  const YamlValue* value_;
  std::string path_;
};

/// What a value is, for "expected …, got a list".
std::string describe(const YamlValue& value);

}  // namespace slicer::runner
