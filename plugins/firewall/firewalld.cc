#include "plugins/firewall/firewalld.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <ranges>
#include <set>

#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/base/steps.h"
#include "lib/base/whole_file.h"
#include "plugins/firewall/zone_bus.h"

namespace slicer::firewall {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolder = "/var/lib/slicer/firewalld";
constexpr const char* kLock = "/var/lib/slicer/firewalld/lock";
constexpr const char* kGone = "gone";  ///< beside the boots' folders: DELs without firewalld
constexpr std::chrono::seconds kLockLimit{30};

struct Record {
  std::string alias = {};
  std::string zone = {};
  std::vector<std::string> sources = {};

  [[nodiscard]] std::string text() const {
    std::string text = alias + "\n" + zone + "\n";
    for (const std::string& source : sources) text += source + "\n";
    return text;
  }
};

Result<std::string> folder_of_boot() {
  std::string boot = TRY(read_file("/proc/sys/kernel/random/boot_id"));
  std::erase(boot, '\n');
  return fmt::format("{}/{}", kFolder, boot);
}

Result<std::string> path_of(const std::string& alias) {
  return fmt::format("{}/{}", TRY(folder_of_boot()), base32(hash_names({"firewalld", alias}), 20));
}

/// A file that is none of ours is no record.
std::optional<Record> read_record(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text) return std::nullopt;
  Record record;
  for (size_t line = 0; const auto part : std::views::split(*text, '\n')) {
    std::string word(part.begin(), part.end());
    if (line == 0)
      record.alias = std::move(word);
    else if (line == 1)
      record.zone = std::move(word);
    else if (!word.empty())
      record.sources.push_back(std::move(word));
    ++line;
  }
  if (record.zone.empty()) return std::nullopt;
  return record;
}

std::vector<std::string> sources_of(const std::vector<addr::Ip>& guests) {
  std::vector<std::string> sources;
  for (const addr::Ip& ip : guests) sources.push_back(fmt::format("{}/{}", ip.text(), ip.is_v4() ? 32 : 128));
  return sources;
}

Result<void> remove_record(ZoneBus& bus, const std::string& path, const Record& record) {
  Steps steps;
  for (const std::string& source : record.sources) steps.take(bus.delete_source(record.zone, source));
  TRY(std::move(steps).end());
  return delete_file(path);
}

/// What other boots and DELs without firewalld have left. Listing the folders' folder costs the same for any number of
/// VMs.
Result<void> remove_left(ZoneBus& bus) {
  const std::string current = TRY(folder_of_boot());
  std::error_code absent;
  for (const auto& folder : fs::directory_iterator(kFolder, absent)) {
    if (!folder.is_directory() || folder.path() == current) continue;
    for (const auto& file : fs::directory_iterator(folder.path(), absent)) {
      const std::optional<Record> record = read_record(file.path());
      TRY(record ? remove_record(bus, file.path(), *record) : delete_file(file.path()));
    }
    fs::remove(folder.path(), absent);
  }
  return {};
}

bool is_unreachable(const Error& error) { return error.kind == Kind::kUnavailable; }

Result<std::set<std::string>> recorded_sources() {
  std::set<std::string> sources;
  std::error_code absent;
  for (const auto& file : fs::directory_iterator(TRY(folder_of_boot()), absent))
    if (const std::optional<Record> record = read_record(file.path()))
      sources.insert(record->sources.begin(), record->sources.end());
  return sources;
}

/// Without firewalld nothing is in force; what is permanent waits for somebody who meets it.
Result<void> set_aside(const std::string& path) {
  const std::string gone = fmt::format("{}/{}", kFolder, kGone);
  TRY(ensure_directory(gone, 0700));
  std::error_code error;
  fs::rename(path, gone + "/" + fs::path(path).filename().string(), error);
  return error ? Result<void>(fail_errno(error.value(), fmt::format("move '{}' to '{}'", path, gone))) : Result<void>{};
}

Result<void> leave_recorded(const std::string& path, const Record& record) {
  const FileLock lock = TRY(FileLock::acquire(kLock, kLockLimit));
  Result<ZoneBus> bus = ZoneBus::open();
  Result<void> done = bus ? remove_left(*bus) : Result<void>(std::unexpected(bus.error()));
  if (done) done = remove_record(*bus, path, record);
  if (done || !is_unreachable(done.error())) return done;
  log_line(fmt::format("{}, ignoring: its zone is cleaned up when it runs again", done.error().message));
  return set_aside(path);
}

}  // namespace

Result<bool> enter_zone(const cni::Attachment& attachment, const std::string& zone,
                        const std::vector<addr::Ip>& guests) {
  const Record record{.alias = attachment.alias(), .zone = zone, .sources = sources_of(guests)};
  const std::string path = TRY(path_of(record.alias));
  TRY(ensure_directory(fs::path(path).parent_path(), 0700));
  const FileLock lock = TRY(FileLock::acquire(kLock, kLockLimit));
  ZoneBus bus = TRY(ZoneBus::open());
  TRY(remove_left(bus));
  const std::optional<Record> standing = read_record(path);
  const bool same = standing && standing->text() == record.text();
  if (standing && !same) TRY(remove_record(bus, path, *standing));
  // Before the sources: a call that is killed in between leaves a record that DEL and GC know.
  if (!same) TRY(write_whole_file(path, record.text(), {.replace = false}));
  for (const std::string& source : record.sources) {
    Result<void> done = bus.ensure_source(zone, source);
    if (done) continue;
    if (!same)
      if (const Result<void> undone = remove_record(bus, path, record); !undone)
        log_line(undone.error().message + ", ignoring");
    return std::unexpected(std::move(done).error());
  }
  return !same;
}

Result<void> check_zone(const std::string& zone, const std::vector<addr::Ip>& guests) {
  ZoneBus bus = TRY(ZoneBus::open());
  for (const std::string& source : sources_of(guests)) {
    if (TRY(bus.has_source(zone, source))) continue;
    return fail(Kind::kMismatch, fmt::format("check zone '{}' of firewalld: '{}' is not a source of it", zone, source),
                "the next ADD puts it back; find out who removed it");
  }
  return {};
}

Result<bool> leave_zone(const cni::Attachment& attachment) {
  const std::string path = TRY(path_of(attachment.alias()));
  const std::optional<Record> record = read_record(path);
  if (!record || record->alias != attachment.alias()) return false;
  TRY(leave_recorded(path, *record));
  return true;
}

Result<void> leave_zone(const std::string& zone, const std::vector<addr::Ip>& guests) {
  std::vector<std::string> sources = sources_of(guests);
  const std::set<std::string> recorded = TRY(recorded_sources());
  std::erase_if(sources, [&](const std::string& source) { return recorded.contains(source); });
  Result<ZoneBus> bus = ZoneBus::open();
  if (!bus) return {};  // as upstream: without firewalld there is nothing to take back
  Steps steps;
  for (const std::string& source : sources) {
    const Result<void> done = bus->delete_source(zone, source);
    if (done || is_unreachable(done.error())) continue;
    steps.take(done);
  }
  return std::move(steps).end();
}

Result<void> leave_stale_zones(const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  const std::string prefix = cni::Attachment{.network = network, .container_id = {}, .ifname = {}}.alias_prefix();
  std::set<std::string> known;
  for (const cni::ValidAttachment& one : valid)
    known.insert(cni::Attachment{.network = network, .container_id = one.container_id, .ifname = one.ifname}.alias());
  Steps steps;
  std::error_code absent;
  for (const auto& file : fs::directory_iterator(TRY(folder_of_boot()), absent)) {
    const std::optional<Record> record = read_record(file.path());
    if (!record || !record->alias.starts_with(prefix) || known.contains(record->alias)) continue;
    steps.take(leave_recorded(file.path(), *record));
  }
  return std::move(steps).end();
}

Result<void> probe_zone(const std::string& zone) {
  Result<void> done = TRY(ZoneBus::open()).probe(zone);
  if (!done) done.error().kind = Kind::kUnavailable;
  return done;
}

}  // namespace slicer::firewall
