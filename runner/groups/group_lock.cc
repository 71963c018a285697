#include "runner/groups/group_lock.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "lib/cni/fields.h"
#include "runner/state/epitaph.h"

namespace slicer::runner {
namespace {

constexpr std::string_view kFront = ".group-";  // a VM's name never begins with a dot
constexpr std::string_view kBack = ".lock";

std::string path_of(const Settings& settings, GroupLock::Purpose purpose, const std::string& group) {
  if (purpose == GroupLock::Purpose::kKeep) return keeper_file(settings, group);
  return fmt::format("{}/{}{}.changes", settings.state_dir, kFront, group);
}

// The holder before us may have removed the file between our open and our lock.
bool is_still(const FileLock& lock, const std::string& path) {
  struct stat ours{};
  struct stat named{};
  return fstat(lock.fd(), &ours) == 0 && stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
         ours.st_dev == named.st_dev;
}

Result<void> sign(const FileLock& lock, const std::string& file, bool background) {
  const ProcessId self = TRY(identify_process(getpid()));
  const std::string text =
      cni::dump_json({{"pid", self.pid}, {"startTime", self.start_time}, {"file", file}, {"background", background}});
  if (ftruncate(lock.fd(), 0) != 0 ||
      pwrite(lock.fd(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return fail_errno(errno, "write a host group's lock");
  return {};
}

}  // namespace

Result<GroupLock> GroupLock::acquire(const Settings& settings, Purpose purpose, const std::string& group,
                                     const std::string& file, std::chrono::milliseconds limit) {
  TRY(ensure_directory(settings.state_dir));
  const std::string path = path_of(settings, purpose, group);
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
    Result<FileLock> lock = FileLock::acquire(path, std::max(left, std::chrono::milliseconds(0)));
    if (!lock && lock.error().kind == Kind::kBusy)
      return fail(Kind::kBusy,
                  fmt::format("host group '{}' is in the hands of another slicer-run (process {})", group,
                              holder(settings, purpose, group).process.pid),
                  "wait for its end, or end the group: slicer-run down " + group);
    if (!lock) return std::unexpected(std::move(lock).error());
    if (!is_still(*lock, path)) continue;
    GroupLock held(std::move(*lock), path);
    TRY(sign(held.lock_, file, false));
    return held;
  }
}

Result<void> GroupLock::take_over(const std::string& file) { return sign(lock_, file, true); }

Result<std::vector<std::pair<std::string, GroupLock::Holder>>> GroupLock::keepers(const Settings& settings) {
  std::vector<std::pair<std::string, Holder>> all;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(settings.state_dir, failed)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with(kFront) || !name.ends_with(kBack)) continue;
    const std::string group = name.substr(kFront.size(), name.size() - kFront.size() - kBack.size());
    const Holder found = holder(settings, Purpose::kKeep, group);
    if (found.process.pid != 0) all.emplace_back(group, found);
  }
  if (failed && failed != std::errc::no_such_file_or_directory)
    return fail_errno(failed.value(), "read folder '" + settings.state_dir + "'");
  std::ranges::sort(all, {}, &std::pair<std::string, Holder>::first);
  return all;
}

// flock(2): a fork shares the lock, and it goes with the last descriptor.
void GroupLock::leave_to_child() { const FileLock dropped = std::move(lock_); }

GroupLock::Holder GroupLock::holder(const Settings& settings, Purpose purpose, const std::string& group) {
  const Result<std::string> text = read_file(path_of(settings, purpose, group));
  if (!text) return {};
  const Result<cni::Json> json = cni::parse_json(*text);
  if (!json || !json->is_object()) return {};
  const Result<int64_t> pid = cni::int_field(*json, "pid", 0);
  const Result<int64_t> start = cni::int_field(*json, "startTime", 0);
  const Result<std::string> file = cni::string_field(*json, "file");
  const Result<bool> background = cni::bool_field(*json, "background", false);
  if (!pid || !start || !file || !background) return {};
  Holder holder;
  holder.process = {.pid = static_cast<pid_t>(*pid), .start_time = static_cast<uint64_t>(*start)};
  if (!open_process(holder.process).valid()) return {};  // killed: the file stayed
  holder.file = *file;
  holder.background = *background;
  return holder;
}

GroupLock::~GroupLock() {
  if (lock_.fd() >= 0) (void)unlink(path_.c_str());  // another waits for our file: it sees that it is gone
}

}  // namespace slicer::runner
