#include "runner/groups/group_keeping.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "lib/base/log.h"
#include "runner/groups/group_down.h"
#include "runner/groups/group_keeper.h"
#include "runner/groups/ready.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Purpose = GroupLock::Purpose;

constexpr auto kHandOverLimit = 10s;

std::string log_of(const Settings& settings, const HostGroups& groups) {
  return fmt::format("{}/.group-{}.log", settings.state_dir, groups.groups.front().name);
}

Result<void> ask_to_hand_over(const GroupLock::Holder& holder) {
  const UniqueFd keeper = open_process(holder.process);
  if (!keeper.valid()) return {};
  return signal_process(keeper, SIGTERM, kHandOver);
}

// Somebody has the lock: what to do about it. Nothing: take it, he is about to leave.
Result<std::optional<pid_t>> meet_keeper(const Settings& settings, const std::string& group, const std::string& file,
                                         bool take_over) {
  const GroupLock::Holder holder = GroupLock::holder(settings, Purpose::kKeep, group);
  if (holder.process.pid == 0) return std::optional<pid_t>{};  // it ends just now
  if (holder.file != file)
    return fail(Kind::kExists, fmt::format("host group '{}' is up from another file, '{}'", group, holder.file),
                fmt::format("rename the group, or end it: slicer-run down {}", group));
  if (!holder.background || !take_over) return std::optional<pid_t>(holder.process.pid);
  TRY(ask_to_hand_over(holder));
  return std::optional<pid_t>{};
}

// Nobody who waits for our output may wait for the keeper.
Result<void> leave_terminal(const std::string& log) {
  if (setsid() < 0) return fail_errno(errno, "start a session");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const UniqueFd file(open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!null.valid() || !file.valid()) return fail_errno(errno, "open '" + log + "'");
  if (dup2(null.get(), STDIN_FILENO) < 0 || dup2(file.get(), STDOUT_FILENO) < 0 || dup2(file.get(), STDERR_FILENO) < 0)
    return fail_errno(errno, "open '/dev/null'");
  if (chdir("/") != 0) return fail_errno(errno, "go to '/'");
  return {};
}

int run_keeper(const Settings& settings, const UpGroups& up, std::vector<GroupLock> locks, UniqueFd ready) {
  const auto keep = [&]() -> Result<void> {
    TRY(leave_terminal(log_of(settings, up.groups)));
    const Signals signals = TRY(Signals::block());
    for (GroupLock& lock : locks) TRY(lock.take_over(up.groups.file));
    if (write(ready.get(), "", 1) != 1) return fail_errno(errno, "tell that the keeper runs");
    ready.reset();
    (void)TRY(keep_groups(settings, up, signals));
    return {};
  };
  const Result<void> kept = keep();
  if (!kept) log_line(kept.error().message);
  return kept ? 0 : 1;
}

}  // namespace

Result<Keeping> take_keeping(const Settings& settings, const HostGroups& groups, bool take_over) {
  Keeping keeping;
  for (const HostGroup& group : groups.groups) {
    Result<GroupLock> lock = GroupLock::acquire(settings, Purpose::kKeep, group.name, groups.file, 0ms);
    if (lock || lock.error().kind != Kind::kBusy) {
      keeping.locks.push_back(TRY(std::move(lock)));
      continue;
    }
    const std::optional<pid_t> other = TRY(meet_keeper(settings, group.name, groups.file, take_over));
    if (other) return Keeping{.locks = {}, .other = *other};
    keeping.locks.push_back(TRY(GroupLock::acquire(settings, Purpose::kKeep, group.name, groups.file, kHandOverLimit)));
  }
  return keeping;
}

Result<void> leave_keeper(const Settings& settings, const UpGroups& up, std::vector<GroupLock> locks) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  const UniqueFd ready(ends[0]);
  UniqueFd ready_end(ends[1]);
  const pid_t child = fork();
  if (child < 0) return fail_errno(errno, "start a keeper");
  if (child == 0) {
    const int code = run_keeper(settings, up, std::move(locks), std::move(ready_end));
    _exit(code);
  }
  for (GroupLock& lock : locks) lock.leave_to_child();
  ready_end.reset();
  char byte = 0;
  if (read(ready.get(), &byte, 1) == 1) return {};
  (void)waitpid(child, nullptr, 0);
  return fail(Kind::kInternal, "start a keeper for the groups' VMs: see '" + log_of(settings, up.groups) + "'");
}

Result<unsigned> keep_groups(const Settings& settings, const UpGroups& up, const Signals& signals) {
  const HostGroups& groups = up.groups;
  const bool stays =
      std::ranges::any_of(groups.groups, [](const HostGroup& group) { return group.restart != RestartPolicy::kNo; });
  const bool empty = std::ranges::all_of(groups.groups, [](const HostGroup& group) { return group.count == 0; });
  GroupKeeper keeper(settings, signals, groups.file, stays || empty);
  for (const VmRecord& record : up.vms) keeper.adopt(record);
  for (const VmDefinition& vm : up.missed) keeper.try_again(vm);
  const GroupKeeper::End end = TRY(keeper.keep());
  if (end != GroupKeeper::End::kHandedOver) (void)unlink(log_of(settings, groups).c_str());  // a keeper's
  if (end == GroupKeeper::End::kHandedOver || end == GroupKeeper::End::kDown) return 0U;
  notify_service("STOPPING=1");
  if (end == GroupKeeper::End::kSignal) log_line("shutting the VMs down; once more ends them at once");
  DownWish wish;
  for (const GroupNote& note : keeper.notes()) wish.groups.push_back(note.group);
  wish.file = groups.file;
  const std::vector<GroupLock> changes = TRY(lock_changes(settings, wish.groups, groups.file));
  Fleet fleet(settings, signals);
  TRY(end_groups(settings, wish, fleet));
  return fleet.failed();
}

}  // namespace slicer::runner
