#include "runner/supervisor/watch.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <vector>

#include "lib/base/log.h"
#include "runner/supervisor/bounded_log.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNever = Clock::time_point::max();

constexpr auto kPressInterval = 1s;  // a press is lost while the guest is still booting, so it is repeated
constexpr std::chrono::seconds kQuitLimit = 3s;
constexpr auto kLogInterval = 2s;  // a serial console writes a few MiB in that time

// How far the end of a VM has got.
enum class Step { kNone, kPowerDown, kQuit, kKill };

class Watch {
 public:
  using Tasks = std::span<const std::unique_ptr<SideTask>>;

  Watch(Hypervisor& hypervisor, const Signals& signals, const VmFiles& files, Tasks tasks,
        const std::function<void(const StopOrder&)>& on_stop)
      : hypervisor_(hypervisor), signals_(signals), files_(files), tasks_(tasks), on_stop_(on_stop) {}

  void run() {
    for (;;) {
      std::vector<pollfd> waiting = {
          {.fd = hypervisor_.pidfd(), .events = POLLIN, .revents = 0},
          {.fd = signals_.fd(), .events = POLLIN, .revents = 0},
          {.fd = events_open_ ? hypervisor_.event_fd() : -1, .events = POLLIN, .revents = 0}};
      for (const auto& task : tasks_) waiting.push_back({.fd = task->fd(), .events = POLLIN, .revents = 0});
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_wakeup() - Clock::now());
      (void)poll(waiting.data(), waiting.size(),
                 static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0})));
      if (waiting[0].revents != 0) return;
      if (waiting[1].revents != 0) on_signal();
      if (waiting[2].revents != 0) events_open_ = hypervisor_.read_events();
      run_tasks(std::span(waiting).last(tasks_.size()));
      on_time();
    }
  }

 private:
  [[nodiscard]] Clock::time_point next_wakeup() const {
    Clock::time_point next = std::min({next_log_, next_step_, next_press_});
    for (const auto& task : tasks_) next = std::min(next, task->next_wakeup());
    return next;
  }

  void run_tasks(std::span<const pollfd> polled) {
    for (size_t i = 0; i < tasks_.size(); ++i) {
      if (polled[i].revents != 0) tasks_[i]->on_readable();
      if (Clock::now() >= tasks_[i]->next_wakeup()) tasks_[i]->on_time();
    }
  }

  void on_signal() {
    const Signals::Taken signal = signals_.take_with_value();
    if (signal.number == 0) return;
    const StopOrder order = order_from(signal.value);
    on_stop_(order);
    const Step wanted = signal.number == SIGINT ? Step::kQuit : Step::kPowerDown;
    if (wanted > step_) go_to(wanted, order.limit);
    // Who has less patience than the one before is heard.
    if (wanted == step_ && wanted == Step::kPowerDown) next_step_ = std::min(next_step_, Clock::now() + order.limit);
  }

  void on_time() {
    const Clock::time_point now = Clock::now();
    if (now >= next_press_) press();
    if (now >= next_step_) go_to(step_ == Step::kPowerDown ? Step::kQuit : Step::kKill);
    if (now < next_log_) return;
    bound_log(files_.console_log);
    bound_log(files_.hypervisor_log);
    next_log_ = now + kLogInterval;
  }

  void go_to(Step step, std::chrono::seconds limit = kQuitLimit) {
    step_ = step;
    next_press_ = kNever;
    next_step_ = Clock::now() + (step == Step::kPowerDown ? limit : kQuitLimit);
    if (step == Step::kPowerDown) press();
    if (step == Step::kQuit) next_if_failed(hypervisor_.quit());
    if (step == Step::kKill) hypervisor_.kill();
  }

  void press() {
    next_press_ = Clock::now() + kPressInterval;
    next_if_failed(hypervisor_.power_down());
  }

  // A step that cannot be taken leads to the next at once.
  void next_if_failed(const Result<void>& taken) {
    if (taken) return;
    log_line(taken.error().message + ", going on");
    next_step_ = Clock::now();
  }

  Hypervisor& hypervisor_;
  const Signals& signals_;
  const VmFiles& files_;
  Tasks tasks_;
  const std::function<void(const StopOrder&)>& on_stop_;
  Step step_ = Step::kNone;
  Clock::time_point next_step_ = kNever;
  Clock::time_point next_press_ = kNever;
  Clock::time_point next_log_ = Clock::now() + kLogInterval;
  bool events_open_ = true;
};

}  // namespace

void watch_vm(Hypervisor& hypervisor, const Signals& signals, const VmFiles& files,
              std::span<const std::unique_ptr<SideTask>> tasks, const std::function<void(const StopOrder&)>& on_stop) {
  Watch(hypervisor, signals, files, tasks, on_stop).run();
}

}  // namespace slicer::runner
