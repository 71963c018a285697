#pragma once
// The keys of the YAML: one table for the reader, its suggestions and the documentation's test.

#include <span>
#include <string>
#include <string_view>

namespace slicer::runner {

struct Key {
  std::string_view name = {};
  std::string_view modes = {};  ///< network's keys: the modes in which it means something, "" for all
};

std::span<const Key> file_keys();       ///< of the whole file
std::span<const Key> config_keys();     ///< of "config"
std::span<const Key> group_keys();      ///< of a host group
std::span<const Key> network_keys();    ///< of "network"
std::span<const Key> bandwidth_keys();  ///< of "bandwidth"
std::span<const Key> image_keys();      ///< of a file that "image" names

/// Null when there is none of that name.
const Key* find_key(std::span<const Key> keys, std::string_view name);

/// `did you mean "drop"?` when a word is near, else the list of all: what to say about an unknown one.
std::string suggest(std::string_view word, std::span<const std::string_view> known);
std::string suggest_key(std::string_view word, std::span<const Key> keys);

}  // namespace slicer::runner
