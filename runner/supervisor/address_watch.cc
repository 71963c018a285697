#include "runner/supervisor/address_watch.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "lib/base/log.h"
#include "lib/net/frame_watch.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kInterval = 1s;
constexpr unsigned kFramesAnInterval = 200;  // an exchange is four, and a LAN's other clients broadcast theirs

class AddressWatch : public SideTask {
 public:
  AddressWatch(UniqueFd socket, const addr::Mac& guest, bool guest_goes_out,
               std::function<void(const AddressBook&)> on_change)
      : socket_(std::move(socket)), guest_goes_out_(guest_goes_out), book_(guest), on_change_(std::move(on_change)) {}

  [[nodiscard]] int fd() const override { return left_ > 0 ? socket_.get() : -1; }

  void on_readable() override {
    while (left_ > 0 && take_one()) --left_;
    // The rest waits in the kernel, which drops what does not fit.
    if (refill_ == kNever) refill_ = Clock::now() + kInterval;
    tell_soon();
  }

  [[nodiscard]] Clock::time_point next_wakeup() const override {
    const Clock::time_point end = book_.lease() ? book_.lease()->end.value_or(kNever) : kNever;
    return std::min({refill_, tell_, end});
  }

  void on_time() override {
    const Clock::time_point now = Clock::now();
    if (now >= refill_) {
      left_ = kFramesAnInterval;
      refill_ = kNever;
    }
    changed_ = book_.expire(now) || changed_;
    tell_soon();
    if (now < tell_) return;
    tell_ = kNever;
    changed_ = false;
    told_ = now;
    on_change_(book_);
  }

 private:
  static constexpr Clock::time_point kNever = Clock::time_point::max();

  bool take_one() {
    std::array<uint8_t, 2048> buffer;  // NOLINT(cppcoreguidelines-pro-type-member-init): recvfrom() fills it
    const Result<std::optional<net::WatchedFrame>> frame = net::read_frame(socket_.get(), buffer);
    if (!frame) {
      log_line(frame.error().message + ": the VM's addresses are watched no longer");
      socket_.reset();
      left_ = 0;
      return false;
    }
    if (!*frame) return false;
    const Direction direction = (*frame)->outgoing == guest_goes_out_ ? Direction::kFromGuest : Direction::kToGuest;
    changed_ = book_.take(std::span(buffer).first((*frame)->length), direction, Clock::now()) || changed_;
    return true;
  }

  // A change is told at once unless the last was a moment ago.
  void tell_soon() {
    if (changed_ && tell_ == kNever) tell_ = std::max(Clock::now(), told_ + kInterval);
  }

  UniqueFd socket_;
  bool guest_goes_out_;
  AddressBook book_;
  std::function<void(const AddressBook&)> on_change_;
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
                                                  const addr::Mac& guest,
                                                  std::function<void(const AddressBook&)> on_change) {
  UniqueFd socket = TRY(net::watch_address_frames(sandbox, tap.index));
  // What a guest sends comes in by a TAP, and goes out by a macvtap, which stands in the guest's place on the LAN.
  const bool guest_goes_out = tap.kind == "macvtap";
  return std::make_unique<AddressWatch>(std::move(socket), guest, guest_goes_out, std::move(on_change));
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
