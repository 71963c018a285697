#include "runner/groups/fleet.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "lib/base/log.h"
#include "runner/print.h"
#include "runner/supervisor/cleanup.h"

namespace slicer::runner {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kAtOnce = 16;                        // more only wait for the kernel's link lock, and for memory
constexpr auto kEndLimit = std::chrono::seconds(60);  // as supervisor.cc's
constexpr int kLookMs = 1000;
constexpr int kSlowMs = 5000;  // then it is said what is waited for
constexpr size_t kNamesShown = 5;

std::string names_text(const std::vector<std::string>& names) {
  const std::vector<std::string> shown(names.begin(),
                                       names.begin() + static_cast<ptrdiff_t>(std::min(names.size(), kNamesShown)));
  const std::string more = names.size() > kNamesShown ? fmt::format(" and {} more", names.size() - kNamesShown) : "";
  return fmt::format("{}{}", fmt::join(shown, ", "), more);
}

}  // namespace

struct Fleet::Boot {
  std::vector<VmRequest> requests = {};
  size_t next = 0;  ///< the first that is not begun
  size_t done = 0;
  std::vector<StartingVm> starting = {};
  Clock::time_point began = Clock::now();

  [[nodiscard]] std::string waiting_text() const {
    std::vector<std::string> names;
    for (const StartingVm& vm : starting) names.push_back(vm.name);
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - began);
    return fmt::format("waiting for {} ({} of {} done after {} s)", names_text(names), done, requests.size(),
                       seconds.count());
  }
};

void Fleet::report(const Error& error) {
  log_line(error.message);
  if (!error.hint.empty()) log_line("hint: " + error.hint);
  ++failed_;
}

bool Fleet::took_signal() {
  const Signals::Taken taken = signals_.take_with_value();
  if (taken.number != 0) signal_ = taken;
  return taken.number != 0;
}

// Fills the window. A fork, not a thread: a supervisor is a process anyway.
void Fleet::begin(Boot& boot) {
  while (!interrupted() && boot.next < boot.requests.size() && boot.starting.size() < kAtOnce) {
    const VmRequest& request = boot.requests[boot.next++];
    Result<VmLock> lock = take_name(settings_, request.name);
    Result<StartingVm> vm = lock ? begin_vm(settings_, request, std::move(*lock)) : std::unexpected(lock.error());
    if (vm) {
      boot.starting.push_back(std::move(*vm));
    } else {
      report(std::move(vm).context("VM '" + request.name + "'").error());
      missed_.push_back(request.definition);
      ++boot.done;
    }
    if (took_signal()) return;
  }
}

Result<void> Fleet::collect(Boot& boot, size_t index) {
  StartingVm vm = std::move(boot.starting[index]);
  boot.starting.erase(boot.starting.begin() + static_cast<ptrdiff_t>(index));
  ++boot.done;
  const std::string name = vm.name;
  Result<VmRecord> record = await_vm(std::move(vm));
  if (!record) {
    report(std::move(record).context("VM '" + name + "'").error());
    const auto request = std::ranges::find(boot.requests, name, &VmRequest::name);
    if (request != boot.requests.end()) missed_.push_back(request->definition);
    return {};
  }
  running_.push_back(std::move(*record));
  return print(fmt::format("{} ({} of {})\n", summary_text(running_.back()), boot.done, boot.requests.size()));
}

Result<void> Fleet::boot(std::vector<VmRequest> requests) {
  Boot boot;
  boot.requests = std::move(requests);
  for (begin(boot); !boot.starting.empty(); begin(boot)) {
    std::vector<pollfd> waiting = {{.fd = interrupted() ? -1 : signals_.fd(), .events = POLLIN, .revents = 0}};
    for (const StartingVm& vm : boot.starting)
      waiting.push_back({.fd = vm.answer.get(), .events = POLLIN, .revents = 0});
    if (poll(waiting.data(), waiting.size(), kSlowMs) == 0) log_line(boot.waiting_text());
    if (waiting[0].revents != 0) (void)took_signal();
    for (size_t i = boot.starting.size(); i-- > 0;)
      if (waiting[i + 1].revents != 0) TRY(collect(boot, i));
  }
  return {};
}

size_t Fleet::wait_for_end_of_one(int limit_ms) {
  std::vector<UniqueFd> ends;
  std::vector<pollfd> waiting = {{.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
  for (const VmRecord& record : running_) {
    ends.push_back(open_process(record.supervisor));
    if (!ends.back().valid()) return ends.size() - 1;  // gone before we looked
    waiting.push_back({.fd = ends.back().get(), .events = POLLIN, .revents = 0});
  }
  if (running_.empty()) return 0;
  (void)poll(waiting.data(), waiting.size(), limit_ms);
  for (size_t i = 0; i < running_.size(); ++i)
    if (waiting[i + 1].revents != 0) return i;
  return running_.size();
}

// A supervisor that was killed leaves its VM's network to us.
Result<void> Fleet::bury(size_t index) {
  const VmRecord record = std::move(running_[index]);
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
  (void)waitpid(record.supervisor.pid, nullptr, WNOHANG);  // ours only when this command started it
  const Result<Cleaned> cleaned = clean_dead_vm(settings_, record.name);
  if (!cleaned) report(cleaned.error());
  return {};
}

void Fleet::signal_all(int number) {
  for (const VmRecord& record : running_) {
    const UniqueFd supervisor = open_process(record.supervisor);
    if (!supervisor.valid()) continue;
    if (const Result<void> sent = signal_process(supervisor, number); !sent)
      log_line(sent.error().message + ", ignoring");
  }
}

Result<void> Fleet::end() {
  const size_t total = running_.size();
  const Clock::time_point limit = Clock::now() + kEndLimit;
  signal_all(SIGTERM);
  while (!running_.empty()) {
    const size_t index = wait_for_end_of_one(kLookMs);
    if (index == running_.size()) {
      if (took_signal()) signal_all(SIGINT);
      if (Clock::now() > limit) signal_all(SIGKILL);  // their hypervisors die with them; bury() does the rest
      continue;
    }
    const std::string name = running_[index].name;
    TRY(bury(index));
    TRY(print(fmt::format("{} is gone ({} of {})\n", name, total - running_.size(), total)));
  }
  return {};
}

}  // namespace slicer::runner
