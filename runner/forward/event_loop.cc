#include "runner/forward/event_loop.h"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace slicer::runner {

Result<EventLoop> EventLoop::make() {
  UniqueFd fd(epoll_create1(EPOLL_CLOEXEC));
  if (!fd.valid()) return fail_errno(errno, "make an epoll descriptor");
  return EventLoop(std::move(fd));
}

void EventLoop::watch(int fd, uint32_t events, uint32_t& now, Waiter* waiter) const {
  if (events == now) return;
  epoll_event event{};
  event.events = events;
  event.data.ptr = waiter;
  const int change = events == 0 ? EPOLL_CTL_DEL : now == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
  if (epoll_ctl(fd_.get(), change, fd, &event) == 0) now = events;
}

void EventLoop::wait(int limit_ms) const {
  std::array<epoll_event, 64> events = {};
  const int count = epoll_wait(fd_.get(), events.data(), static_cast<int>(events.size()), limit_ms);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    static_cast<Waiter*>(event.data.ptr)->on_events(event.events);
  }
}

}  // namespace slicer::runner
