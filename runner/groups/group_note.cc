#include "runner/groups/group_note.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "runner/groups/group_pool.h"
#include "runner/groups/yaml.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxNote = size_t{16} << 20;   // yaml.cc's limit of a file, and JSON's escapes
constexpr std::string_view kFront = ".group-";  // a VM's name never begins with a dot
constexpr std::string_view kBack = ".json";

std::string path_of(const Settings& settings, const std::string& group) {
  return fmt::format("{}/{}{}{}", settings.state_dir, kFront, group, kBack);
}

Result<GroupNote> parse_note(const std::string& text, const std::string& group) {
  const cni::Json json = TRY(cni::parse_json(text));
  if (!json.is_object()) return fail(Kind::kDecode, "not an object");
  GroupNote note;
  note.group = group;
  note.file = TRY(cni::string_field(json, "file"));
  note.text = TRY(cni::string_field(json, "text"));
  return note;
}

}  // namespace

Result<void> write_note(const Settings& settings, const GroupNote& note) {
  TRY(ensure_directory(settings.state_dir));
  return write_whole_file(path_of(settings, note.group), cni::dump_json({{"file", note.file}, {"text", note.text}}));
}

Result<std::optional<GroupNote>> find_note(const Settings& settings, const std::string& group) {
  const std::string path = path_of(settings, group);
  Result<std::string> text = read_file(path, kMaxNote);
  if (!text && text.error().kind == Kind::kNotFound) return std::optional<GroupNote>{};
  return std::optional<GroupNote>(TRY(parse_note(TRY(std::move(text)), group).context("read '" + path + "'")));
}

Result<std::vector<GroupNote>> list_notes(const Settings& settings) {
  std::vector<GroupNote> notes;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(settings.state_dir, failed)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFront) || !name.ends_with(kBack)) continue;
    const std::string group = name.substr(kFront.size(), name.size() - kFront.size() - kBack.size());
    Result<std::optional<GroupNote>> note = find_note(settings, group);
    if (!note) log_line(note.error().message + ", ignoring");
    if (note && *note) notes.push_back(std::move(**note));
  }
  if (failed && failed != std::errc::no_such_file_or_directory)
    return fail_errno(failed.value(), "read folder '" + settings.state_dir + "'");
  std::ranges::sort(notes, {}, &GroupNote::group);
  return notes;
}

Result<void> delete_note(const Settings& settings, const std::string& group) {
  return delete_file(path_of(settings, group));
}

Result<HostGroup> group_of(const Settings& settings, const GroupNote& note) {
  HostGroups groups = TRY(parse_host_groups(note.text, note.file));
  TRY(choose_gateways(settings, groups, Keep::kNo));
  const auto found = std::ranges::find(groups.groups, note.group, &HostGroup::name);
  if (found != groups.groups.end()) return *found;
  return fail(Kind::kInternal, fmt::format("the note of host group '{}' has no such group", note.group));
}

}  // namespace slicer::runner
