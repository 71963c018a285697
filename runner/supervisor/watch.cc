#include "runner/supervisor/watch.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <csignal>
#include <vector>

#include "lib/base/log.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
constexpr Clock::time_point kNever = Clock::time_point::max();

constexpr auto kPressInterval = 1s;  // a press is lost while the guest is still booting, so it is repeated
constexpr std::chrono::seconds kQuitLimit = 3s;

// How far the end of a VM has got.
enum class Step { kNone, kPowerDown, kQuit, kKill };

class Watch {
 public:
  using Tasks = std::span<const std::unique_ptr<SideTask>>;

  Watch(Hypervisor& hypervisor, const Signals& signals, Tasks tasks,
        const std::function<void(const StopOrder&)>& on_stop)
      : hypervisor_(hypervisor), signals_(signals), tasks_(tasks), on_stop_(on_stop) {}

  void run() {
    for (;;) {
      std::vector<pollfd> waiting = {
          {.fd = hypervisor_.pidfd(), .events = POLLIN, .revents = 0},
          {.fd = signals_.fd(), .events = POLLIN, .revents = 0},
          {.fd = events_open_ ? hypervisor_.event_fd() : -1, .events = POLLIN, .revents = 0}};
      for (const auto& task : tasks_) waiting.push_back({.fd = task->fd(), .events = POLLIN, .revents = 0});
      (void)poll(waiting.data(), waiting.size(), time_left());
      if (waiting[0].revents != 0) return;
      if (waiting[1].revents != 0) on_signal();
      if (waiting[2].revents != 0) events_open_ = hypervisor_.read_events();
      run_tasks(std::span(waiting).last(tasks_.size()));
      on_time();
    }
  }

 private:
  [[nodiscard]] Clock::time_point next_wakeup() const {
    Clock::time_point next = std::min(next_step_, next_press_);
    for (const auto& task : tasks_) next = std::min(next, task->next_wakeup());
    return next;
  }

  // For poll(2): nothing to do means no wakeup at all.
  [[nodiscard]] int time_left() const {
    const Clock::time_point next = next_wakeup();
    if (next == kNever) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now());
    return static_cast<int>(std::clamp<std::chrono::milliseconds::rep>(left.count(), 0, INT_MAX));
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
  Tasks tasks_;
  const std::function<void(const StopOrder&)>& on_stop_;
  Step step_ = Step::kNone;
  Clock::time_point next_step_ = kNever;
  Clock::time_point next_press_ = kNever;
  bool events_open_ = true;
};

}  // namespace

void watch_vm(Hypervisor& hypervisor, const Signals& signals, std::span<const std::unique_ptr<SideTask>> tasks,
              const std::function<void(const StopOrder&)>& on_stop) {
  Watch(hypervisor, signals, tasks, on_stop).run();
}

}  // namespace slicer::runner
