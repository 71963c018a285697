#include "runner/supervisor/watch.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>

#include "lib/base/log.h"
#include "runner/supervisor/bounded_log.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kPowerDownLimit = 15s;  // a Debian guest takes 3 s under TCG; one without ACPI never answers
constexpr auto kQuitLimit = 3s;
constexpr auto kLogInterval = 2s;  // a serial console writes a few MiB in that time

// How far the end of a VM has got.
enum class Step { kNone, kPowerDown, kQuit, kKill };

class Watch {
 public:
  Watch(Hypervisor& hypervisor, const Signals& signals, const VmFiles& files, const std::function<void()>& on_stop)
      : hypervisor_(hypervisor), signals_(signals), files_(files), on_stop_(on_stop) {}

  void run() {
    for (;;) {
      std::array<pollfd, 3> waiting = {
          {{.fd = hypervisor_.pidfd(), .events = POLLIN, .revents = 0},
           {.fd = signals_.fd(), .events = POLLIN, .revents = 0},
           {.fd = events_open_ ? hypervisor_.event_fd() : -1, .events = POLLIN, .revents = 0}}};
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_wakeup() - Clock::now());
      (void)poll(waiting.data(), waiting.size(),
                 static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0})));
      if (waiting[0].revents != 0) return;
      if (waiting[1].revents != 0) on_signal();
      if (waiting[2].revents != 0) events_open_ = hypervisor_.read_events();
      on_time();
    }
  }

 private:
  [[nodiscard]] Clock::time_point next_wakeup() const {
    return step_ == Step::kNone ? next_log_ : std::min(next_log_, next_step_);
  }

  void on_signal() {
    const int number = signals_.take();
    if (number == 0) return;
    const Step wanted = number == SIGINT ? Step::kQuit : Step::kPowerDown;
    if (step_ == Step::kNone) on_stop_();
    if (wanted > step_) go_to(wanted);
  }

  void on_time() {
    if (step_ != Step::kNone && Clock::now() >= next_step_)
      go_to(step_ == Step::kPowerDown ? Step::kQuit : Step::kKill);
    if (Clock::now() < next_log_) return;
    bound_log(files_.console_log);
    bound_log(files_.hypervisor_log);
    next_log_ = Clock::now() + kLogInterval;
  }

  // A step that cannot be taken leads to the next at once.
  void go_to(Step step) {
    step_ = step;
    Result<void> taken;
    if (step == Step::kPowerDown) taken = hypervisor_.power_down();
    if (step == Step::kQuit) taken = hypervisor_.quit();
    if (step == Step::kKill) hypervisor_.kill();
    if (!taken) log_line(taken.error().message + ", going on");
    next_step_ = Clock::now();
    if (taken) next_step_ += step == Step::kPowerDown ? kPowerDownLimit : kQuitLimit;
  }

  Hypervisor& hypervisor_;
  const Signals& signals_;
  const VmFiles& files_;
  const std::function<void()>& on_stop_;
  Step step_ = Step::kNone;
  Clock::time_point next_step_ = {};
  Clock::time_point next_log_ = Clock::now() + kLogInterval;
  bool events_open_ = true;
};

}  // namespace

void watch_vm(Hypervisor& hypervisor, const Signals& signals, const VmFiles& files,
              const std::function<void()>& on_stop) {
  Watch(hypervisor, signals, files, on_stop).run();
}

}  // namespace slicer::runner
