#include "runner/groups/group_keeper.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>

#include "lib/base/log.h"
#include "runner/groups/group_apply.h"
#include "runner/groups/group_launch.h"
#include "runner/groups/group_lock.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/state/vm_definition.h"
#include "runner/supervisor/cleanup.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kLongLife = 60s;
constexpr auto kLongestWait = 60s;
constexpr auto kBusyWait = 1s;       // another command changes the group just now
constexpr auto kSettleTime = 500ms;  // a new VM's folder is there before its record

const char* reason_text(std::optional<EndReason> reason) {
  if (!reason) return "its supervisor was killed";
  switch (*reason) {
    case EndReason::kAsked:
      return "it was told to";
    case EndReason::kGuest:
      return "the guest switched itself off";
    case EndReason::kReset:
      return "the guest crashed, or was reset again and again";
    case EndReason::kFailed:
      return "its hypervisor failed";
  }
  return "?";
}

void tell(const Error& error) {
  log_line(error.message);
  if (!error.hint.empty()) log_line("hint: " + error.hint);
}

}  // namespace

std::chrono::seconds BackOff::after_end(Clock::duration life) {
  if (life >= kLongLife) attempts_ = 0;
  const auto wait = std::min<std::chrono::seconds>(1s * (1U << std::min(attempts_, 10U)), kLongestWait);
  ++attempts_;
  return wait;
}

bool wants_restart(RestartPolicy policy, std::optional<EndReason> reason) {
  if (reason == EndReason::kAsked || policy == RestartPolicy::kNo) return false;
  return policy == RestartPolicy::kAlways || reason != EndReason::kGuest;
}

Result<void> GroupKeeper::watch_folder() {
  folder_ = UniqueFd(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!folder_.valid() ||
      inotify_add_watch(folder_.get(), settings_.state_dir.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE) < 0)
    return fail_errno(errno, "watch folder '" + settings_.state_dir + "'");
  return {};
}

// Which groups are up, and which VMs of theirs run that we do not know yet.
Result<void> GroupKeeper::look() {
  notes_ = TRY(list_notes(settings_));
  std::erase_if(notes_, [&](const GroupNote& note) { return note.file != file_; });
  policies_.clear();
  for (const GroupNote& note : notes_) {
    const Result<HostGroup> group = group_of(settings_, note);
    if (group) policies_[note.group] = group->restart;
    for (VmRecord& record : TRY(members_of(settings_, note.group, file_))) {
      const auto known = watched_.find(record.name);
      if (known != watched_.end() && known->second.record.supervisor == record.supervisor) continue;
      if (known != watched_.end()) TRY(on_end(std::move(watched_.extract(known).mapped())));  // ended and made again
      adopt(std::move(record));
    }
  }
  return {};
}

void GroupKeeper::adopt(VmRecord record) {
  Watched vm;
  vm.pidfd = open_process(record.supervisor);
  vm.record = std::move(record);
  restarts_.erase(vm.record.name);
  watched_.emplace(vm.record.name, std::move(vm));
}

void GroupKeeper::try_again(const VmDefinition& vm) {
  if (!wants_restart(restart_policy(vm.restart), EndReason::kFailed)) return;
  VmRecord last;
  last.name = vm.name;
  last.group = vm.group;
  last.group_file = vm.group_file;
  last.conflist = vm.conflist;
  last.definition = definition_json(vm);
  plan_restart(last, Clock::duration::zero());
  log_line(fmt::format("VM '{}' is tried again in {} s", vm.name, wait_of(vm.name).count()));
}

RestartPolicy GroupKeeper::policy_of(const std::string& group) const {
  const auto found = policies_.find(group);
  return found == policies_.end() ? RestartPolicy::kNo : found->second;
}

int GroupKeeper::limit_ms() const {
  Clock::time_point next = look_again_;
  for (const auto& [name, wish] : restarts_) next = std::min(next, wish.due);
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
  return static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0}));
}

Result<void> GroupKeeper::wait() {
  std::vector<pollfd> waiting = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0},
                                 {.fd = folder_.get(), .events = POLLIN, .revents = 0}};
  std::vector<std::string> names;
  for (const auto& [name, vm] : watched_) {
    names.push_back(name);
    waiting.push_back({.fd = vm.pidfd.get(), .events = POLLIN, .revents = 0});
  }
  (void)poll(
      waiting.data(), waiting.size(),
      std::ranges::all_of(watched_, [](const auto& entry) { return entry.second.pidfd.valid(); }) ? limit_ms() : 0);
  if (waiting[0].revents != 0) signal_ = signals_.take_with_value();
  if (waiting[1].revents != 0) {
    std::array<char, 4096> events{};
    while (read(folder_.get(), events.data(), events.size()) > 0) {
    }
    look_again_ = Clock::now() + kSettleTime;
    TRY(look());
  }
  for (size_t i = 0; i < names.size(); ++i) {
    const auto vm = watched_.find(names[i]);
    if (vm == watched_.end() || vm->second.pidfd.get() != waiting[i + 2].fd) continue;
    if (waiting[i + 2].revents != 0 || !vm->second.pidfd.valid()) TRY(on_end(std::move(watched_.extract(vm).mapped())));
  }
  return {};
}

// A supervisor that was killed leaves its VM's network to us.
Result<void> GroupKeeper::on_end(Watched vm) {
  const VmRecord& record = vm.record;
  (void)waitpid(record.supervisor.pid, nullptr, WNOHANG);  // ours only when this command started it
  const std::optional<EndReason> reason = take_epitaph(settings_, record.name, record.supervisor);
  if (const Result<Cleaned> cleaned = clean_dead_vm(settings_, record.name); !cleaned) tell(cleaned.error());
  const std::optional<GroupNote> note = TRY(find_note(settings_, record.group));
  const bool is_up = note && note->file == file_;
  const bool restart = is_up && wants_restart(policy_of(record.group), reason);
  const std::string ended = fmt::format("VM '{}' has ended: {}", record.name, reason_text(reason));
  if (!restart) {
    const size_t others = watched_.size() - watched_.count(record.name);
    log_line(fmt::format("{}; {} other VMs run on", ended, others));
    return {};
  }
  plan_restart(record, Clock::now() - vm.since);
  log_line(fmt::format("{}; it is booted again in {} s", ended, wait_of(record.name).count()));
  return {};
}

void GroupKeeper::plan_restart(const VmRecord& last, Clock::duration life) {
  restarts_[last.name] = {.last = last, .due = Clock::now() + back_offs_[last.name].after_end(life)};
}

std::chrono::seconds GroupKeeper::wait_of(const std::string& vm) const {
  return std::chrono::ceil<std::chrono::seconds>(restarts_.at(vm).due - Clock::now());
}

// As it was made, on its group's network as it is now.
Result<VmRequest> GroupKeeper::request_again(const VmRecord& last, const GroupNote& note, bool same_address) const {
  const HostGroup group = TRY(group_of(settings_, note));
  LaunchSpec spec = spec_of(TRY(definition_of(last)), TRY(group_network(group, note.file, settings_.conf_dir)));
  spec.kept = KeptWish::kMay;
  const bool can_ask = chain::takes_capability(spec.network, "ips") && !spec.capability_args.contains("ips");
  if (same_address && can_ask && !last.addresses.empty()) spec.capability_args["ips"] = last.addresses;
  return make_request(settings_, spec);
}

Result<void> GroupKeeper::restart(const Restart& wish) {
  const GroupLock lock = TRY(GroupLock::acquire(settings_, GroupLock::Purpose::kChange, wish.last.group, file_, 0ms));
  const std::optional<GroupNote> note = TRY(find_note(settings_, wish.last.group));
  if (!note || note->file != file_) return {};  // it went down meanwhile
  if (const Result<VmRecord> now = load_record(settings_, wish.last.name); now && is_alive(*now)) return {};
  for (const bool same_address : {true, false}) {
    Fleet fleet(settings_, signals_);
    std::vector<VmRequest> requests;
    requests.push_back(TRY(request_again(wish.last, *note, same_address)));
    TRY(fleet.boot(std::move(requests)));
    if (!fleet.running().empty() || fleet.interrupted()) {
      signal_ = fleet.interrupted() ? fleet.signal() : signal_;
      return {};
    }
  }
  return fail(Kind::kInternal, fmt::format("VM '{}' cannot be booted again", wish.last.name));
}

Result<void> GroupKeeper::restart_due() {
  const Clock::time_point now = Clock::now();
  std::vector<Restart> due;
  for (const auto& [name, wish] : restarts_)
    if (wish.due <= now) due.push_back(wish);
  for (const Restart& wish : due) {
    if (signal_.number != 0) return {};
    restarts_.erase(wish.last.name);
    const Result<void> done = restart(wish);
    if (done) continue;
    if (done.error().kind == Kind::kBusy) {
      restarts_[wish.last.name] = {.last = wish.last, .due = Clock::now() + kBusyWait};
      continue;
    }
    tell(done.error());
    plan_restart(wish.last, Clock::duration::zero());
  }
  if (!due.empty()) TRY(look());
  return {};
}

std::optional<GroupKeeper::End> GroupKeeper::end_of_keeping() {
  if (signal_.number == SIGTERM && signal_.value == kHandOver) return End::kHandedOver;
  if (signal_.number != 0) return End::kSignal;
  if (notes_.empty()) return End::kDown;
  if (!stays_ && watched_.empty() && restarts_.empty() && look_again_ == Clock::time_point::max()) return End::kLast;
  return std::nullopt;
}

Result<GroupKeeper::End> GroupKeeper::keep() {
  TRY(watch_folder());
  TRY(look());
  for (;;) {
    if (const std::optional<End> end = end_of_keeping()) return *end;
    TRY(wait());
    if (look_again_ <= Clock::now()) {
      look_again_ = Clock::time_point::max();
      TRY(look());
    }
    TRY(restart_due());
  }
}

}  // namespace slicer::runner
