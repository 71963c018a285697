#include "runner/state/epitaph.h"

#include <array>
#include <filesystem>
#include <string_view>

#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"

namespace slicer::runner {
namespace {

constexpr std::array<std::string_view, 4> kWords = {"asked", "guest", "reset", "failed"};

constexpr std::string_view kFront = ".ended-";  // a VM's name never begins with a dot

std::string path_of(const Settings& settings, const std::string& vm) {
  return settings.state_dir + "/" + std::string(kFront) + vm;
}

std::optional<ProcessId> process_of(const cni::Json& json) {
  const Result<int64_t> pid = cni::int_field(json, "pid", 0);
  const Result<int64_t> start = cni::int_field(json, "startTime", 0);
  if (!pid || !start) return std::nullopt;
  return ProcessId{.pid = static_cast<pid_t>(*pid), .start_time = static_cast<uint64_t>(*start)};
}

// The lock's file stays when its holder is killed.
bool is_kept(const Settings& settings, const std::string& group) {
  const Result<std::string> text = read_file(keeper_file(settings, group));
  const Result<cni::Json> json = text ? cni::parse_json(*text) : std::unexpected(text.error());
  if (!json || !json->is_object()) return false;
  const std::optional<ProcessId> keeper = process_of(*json);
  return keeper && open_process(*keeper).valid();
}

std::optional<EndReason> parse(const std::string& text, const ProcessId& supervisor) {
  const Result<cni::Json> json = cni::parse_json(text);
  if (!json || !json->is_object()) return std::nullopt;
  const Result<std::string> word = cni::string_field(*json, "reason");
  if (!word || process_of(*json) != supervisor) return std::nullopt;
  for (size_t i = 0; i < kWords.size(); ++i)
    if (kWords[i] == *word) return static_cast<EndReason>(i);
  return std::nullopt;
}

}  // namespace

std::string keeper_file(const Settings& settings, const std::string& group) {
  return settings.state_dir + "/.group-" + group + ".lock";
}

Result<void> leave_epitaph(const Settings& settings, const std::string& group, const std::string& vm,
                           const Epitaph& epitaph) {
  if (group.empty() || !is_kept(settings, group)) return {};
  return write_whole_file(path_of(settings, vm),
                          cni::dump_json({{"group", group},
                                          {"pid", epitaph.supervisor.pid},
                                          {"startTime", epitaph.supervisor.start_time},
                                          {"reason", kWords[static_cast<size_t>(epitaph.reason)]}}));
}

std::optional<EndReason> take_epitaph(const Settings& settings, const std::string& vm, const ProcessId& supervisor) {
  const std::string path = path_of(settings, vm);
  const Result<std::string> text = read_file(path);
  if (!text) return std::nullopt;
  (void)delete_file(path);  // a stale one is another supervisor's and does no harm
  return parse(*text, supervisor);
}

void forget_epitaphs(const Settings& settings, const std::string& group) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(settings.state_dir, failed)) {
    if (!entry.path().filename().string().starts_with(kFront)) continue;
    const Result<std::string> text = read_file(entry.path());
    const Result<cni::Json> json = text ? cni::parse_json(*text) : std::unexpected(text.error());
    if (json && json->is_object() && json->value("group", cni::Json()) == group) (void)delete_file(entry.path());
  }
}

}  // namespace slicer::runner
