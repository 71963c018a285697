#pragma once
// Host groups from YAML.

#include <string>

#include "lib/base/result.h"
#include "runner/groups/host_group.h"

namespace slicer::runner {

/// Reads and checks a file's text. Every error says where and what: "FILE:LINE:COLUMN: host_groups[0].network.drp:
/// unknown key", with the nearest valid key as the hint. Errors: kDecode (no YAML), kInvalidConfig, kUnsupportedField
/// (a word of the format that comes with a later version).
Result<HostGroups> parse_host_groups(const std::string& text, const std::string& file);

/// Reads a file; "-" is stdin. Errors: also kNotFound, kIo. `file` of the result has no links in its path.
Result<HostGroups> read_host_groups(const std::string& file);

/// The path without links and dots; the file must be there. Errors: kNotFound, kSystem.
Result<std::string> real_path(const std::string& file);
bool is_regular_file(const std::string& file);
/// Whether a word is a file's and no group's name: it has a '/', or ends in .yaml or .yml.
bool looks_like_file(const std::string& word);

}  // namespace slicer::runner
