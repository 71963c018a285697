#include "runner/supervisor/signals.h"

#include <sys/signalfd.h>

#include <cerrno>
#include <csignal>

namespace slicer::runner {

Result<Signals> Signals::block() {
  sigset_t set;
  sigset_t before;
  (void)sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) (void)sigaddset(&set, number);
  if (sigprocmask(SIG_BLOCK, &set, &before) != 0) return fail_errno(errno, "block signals");
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return fail_errno(errno, "take signals");
  return Signals(std::move(fd), before);
}

Signals::~Signals() {
  if (!fd_.valid()) return;  // moved from
  while (take() != 0) continue;
  (void)sigprocmask(SIG_SETMASK, &before_, nullptr);
}

Signals::Taken Signals::take_with_value() const {
  signalfd_siginfo info{};
  if (read(fd_.get(), &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return {};
  return {.number = static_cast<int>(info.ssi_signo), .value = info.ssi_code == SI_QUEUE ? info.ssi_int : 0};
}

}  // namespace slicer::runner
