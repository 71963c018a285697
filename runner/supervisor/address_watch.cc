#include "runner/supervisor/address_watch.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <string>
#include <utility>

#include "lib/base/log.h"
#include "lib/net/frame_watch.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kInterval = 1s;
constexpr unsigned kFramesAnInterval = 200;  // an exchange is four, and a LAN's other clients broadcast theirs

/// Socket and timer behind one descriptor. poll()'s own timeout stands still while the machine sleeps.
struct Sources {
  UniqueFd socket;
  UniqueFd timer;  ///< of LeaseClock
  UniqueFd both;
};

Result<Sources> open_sources(const net::Netns& sandbox, int link) {
  Sources sources;
  sources.socket = TRY(net::watch_address_frames(sandbox, link));
  sources.timer = UniqueFd(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!sources.timer.valid()) return fail_errno(errno, "make a timer");
  sources.both = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!sources.both.valid()) return fail_errno(errno, "make an epoll descriptor");
  for (const UniqueFd* source : {&sources.socket, &sources.timer}) {
    epoll_event event = {};
    event.events = EPOLLIN;
    if (epoll_ctl(sources.both.get(), EPOLL_CTL_ADD, source->get(), &event) != 0)
      return fail_errno(errno, "wait on a descriptor");
  }
  return sources;
}

itimerspec at(std::optional<LeaseClock::time_point> end) {
  itimerspec time = {};
  if (!end) return time;  // zero: off
  const auto since_boot = end->time_since_epoch();
  const auto seconds = std::chrono::floor<std::chrono::seconds>(since_boot);
  time.it_value.tv_sec = static_cast<time_t>(seconds.count());
  time.it_value.tv_nsec = static_cast<long>(std::chrono::nanoseconds(since_boot - seconds).count());
  return time;
}

class AddressWatch : public SideTask {
 public:
  AddressWatch(Sources sources, const net::Netns& sandbox, const net::Link& tap, const addr::Mac& guest,
               AddressNews news)
      : sources_(std::move(sources)), netns_(sandbox.path()), link_(tap), book_(guest), news_(std::move(news)) {}

  [[nodiscard]] int fd() const override { return left_ > 0 ? sources_.both.get() : -1; }

  void on_readable() override {
    on_timer();
    while (left_ > 0 && sources_.socket.valid() && take_one()) --left_;
    // The rest waits in the kernel, which drops what does not fit.
    if (refill_ == kNever) refill_ = Clock::now() + kInterval;
    set_timer();
    tell_soon();
  }

  [[nodiscard]] Clock::time_point next_wakeup() const override { return std::min(refill_, tell_); }

  void on_time() override {
    const Clock::time_point now = Clock::now();
    if (now >= refill_) {
      left_ = kFramesAnInterval;
      refill_ = kNever;
    }
    if (now < tell_) return;
    tell_ = kNever;
    changed_ = false;
    told_ = now;
    news_.on_change(book_);
  }

 private:
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  void on_timer() {
    uint64_t count = 0;
    if (read(sources_.timer.get(), &count, sizeof count) != sizeof count) return;
    changed_ = book_.expire(LeaseClock::now()) || changed_;
  }

  bool take_one() {
    std::array<uint8_t, 2048> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): recvfrom() fills it
    const Result<std::optional<net::WatchedFrame>> frame = net::read_frame(sources_.socket.get(), buffer);
    if (!frame) {
      log_line(frame.error().message + ": the VM's addresses are watched no longer");
      sources_.socket.reset();
      return false;
    }
    if (!*frame) return false;
    if ((*frame)->down) return on_down();
    const Direction direction = (*frame)->outgoing == guest_goes_out() ? Direction::kFromGuest : Direction::kToGuest;
    changed_ = book_.take(std::span(buffer).first((*frame)->length), direction, LeaseClock::now()) || changed_;
    return true;
  }

  /// Whether there may be more to read.
  bool on_down() {
    if (link_is_there()) return true;
    sources_.socket.reset();
    news_.on_link_gone();
    return false;
  }

  // The kernel answers when it is through with the deletion that the socket was told of (rtnl_lock()).
  [[nodiscard]] bool link_is_there() const {
    const auto found = [&]() -> Result<bool> {
      const net::Netns netns = TRY(net::Netns::open(netns_));
      net::RouteSocket session = TRY(net::RouteSocket::open_in(netns));
      return TRY(net::find_link(session, link_.index)).has_value();
    }();
    return !found || *found;  // in doubt it is
  }

  // What a guest sends comes in by a TAP, and goes out by a macvtap, which stands in the guest's place on the LAN.
  [[nodiscard]] bool guest_goes_out() const { return link_.kind == "macvtap"; }

  void set_timer() {
    const std::optional<LeaseClock::time_point> end = book_.lease() ? book_.lease()->end : std::nullopt;
    if (end == timer_) return;
    timer_ = end;
    const itimerspec time = at(end);
    if (timerfd_settime(sources_.timer.get(), TFD_TIMER_ABSTIME, &time, nullptr) != 0)
      log_line("set a timer: " + errno_text(errno) + ": the lease's end will not be seen, ignoring");
  }

  // A change is told at once unless the last was a moment ago.
  void tell_soon() {
    if (changed_ && tell_ == kNever) tell_ = std::max(Clock::now(), told_ + kInterval);
  }

  Sources sources_;
  std::string netns_;
  net::Link link_;
  AddressBook book_;
  AddressNews news_;
  std::optional<LeaseClock::time_point> timer_ = {};
  unsigned left_ = kFramesAnInterval;
  bool changed_ = false;
  Clock::time_point refill_ = kNever;
  Clock::time_point tell_ = kNever;
  Clock::time_point told_ = Clock::now() - kInterval;
};

int64_t since_1970(LeaseClock::time_point at) {
  const auto left = std::chrono::round<std::chrono::seconds>(at - LeaseClock::now());
  return std::time(nullptr) + left.count();
}

VmRecord::Lease lease_of(const Lease& lease, const std::optional<VmRecord::Lease>& before) {
  VmRecord::Lease result{.address = lease.address.text(), .end = lease.end ? since_1970(*lease.end) : 0};
  if (lease.router) result.router = lease.router->text();
  if (lease.server) result.server = lease.server->text();
  // Two clocks, rounded to seconds: not every look at the same end is a change.
  if (before && std::abs(before->end - result.end) <= 1) result.end = before->end;
  return result;
}

}  // namespace

Result<std::unique_ptr<SideTask>> watch_addresses(const net::Netns& sandbox, const net::Link& tap,
                                                  const addr::Mac& guest, AddressNews news) {
  Sources sources = TRY(open_sources(sandbox, tap.index));
  return std::make_unique<AddressWatch>(std::move(sources), sandbox, tap, guest, std::move(news));
}

bool note_addresses(const AddressBook& book, VmRecord& record) {
  VmRecord noted = record;
  noted.lease.reset();
  if (book.lease()) noted.lease = lease_of(*book.lease(), record.lease);
  noted.seen_addresses.clear();
  for (const addr::Ip& ip : book.addresses()) noted.seen_addresses.push_back(ip.text());
  noted.link_local = book.link_local() ? book.link_local()->text() : "";
  return std::exchange(record, std::move(noted)) != record;
}

}  // namespace slicer::runner
