#include "runner/supervisor/console_broker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <vector>

#include "lib/base/log.h"
#include "runner/supervisor/bounded_log.h"
#include "runner/supervisor/serial_line.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxViewers = 32;
constexpr uint64_t kSerial = 0;  // what epoll calls the parts; viewers follow
constexpr uint64_t kListener = 1;
constexpr uint64_t kFirstViewer = 2;

using Chunk = std::array<char, 16384>;

Result<void> watch(int epoll, int operation, int fd, uint64_t id, uint32_t events) {
  epoll_event event{.events = events, .data = {.u64 = id}};
  if (epoll_ctl(epoll, operation, fd, &event) == 0) return {};
  return fail_errno(errno, "wait for the console");
}

bool would_block() { return errno == EAGAIN || errno == EINTR; }

}  // namespace

Result<std::unique_ptr<ConsoleBroker>> ConsoleBroker::create(UniqueFd listener, const std::string& log) {
  UniqueFd epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail_errno(errno, "wait for the console");
  UniqueFd file(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return fail_errno(errno, "open '" + log + "'");
  TRY(watch(epoll.get(), EPOLL_CTL_ADD, listener.get(), kListener, EPOLLIN));
  std::unique_ptr<ConsoleBroker> broker(new ConsoleBroker(std::move(epoll), std::move(listener), std::move(file), log));
  broker->next_id_ = kFirstViewer;
  return broker;
}

Result<UniqueFd> ConsoleBroker::renew_line(LineKind kind) {
  on_end();
  SerialLine line = TRY(make_serial_line(kind));
  serial_ = std::move(line.ours);
  TRY(watch(epoll_.get(), EPOLL_CTL_ADD, serial_.get(), kSerial, EPOLLIN));
  return std::move(line.theirs);
}

void ConsoleBroker::on_readable() {
  std::array<epoll_event, 16> events;
  const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<size_t>(i)];
    if (event.data.u64 == kListener) {
      accept_viewer();
    } else if (event.data.u64 == kSerial) {
      if ((event.events & EPOLLOUT) != 0) send_pending();
      if ((event.events & ~static_cast<uint32_t>(EPOLLOUT)) != 0 && !read_serial()) serial_.reset();
    } else {
      serve(event.data.u64, event.events);
    }
  }
}

void ConsoleBroker::on_end() {
  while (serial_.valid() && read_serial()) continue;
  serial_.reset();
  send_pending();  // nobody takes it any more
}

// False when there is no more: the end, or (for on_end()) nothing for now.
bool ConsoleBroker::read_serial() {
  Chunk chunk;
  const ssize_t count = read(serial_.get(), chunk.data(), chunk.size());
  if (count < 0 && errno == EINTR) return true;
  if (count <= 0) return false;
  const std::string_view text(chunk.data(), static_cast<size_t>(count));
  output_.append(text);
  write_log(text);
  std::vector<uint64_t> gone;
  for (auto& [id, viewer] : viewers_) {
    if (!viewer.slow && !show(viewer)) gone.push_back(id);
    wait_for(id, viewer);
  }
  for (const uint64_t id : gone) remove(id);
  return true;
}

// A full /run loses the log, not the VM.
void ConsoleBroker::write_log(std::string_view text) {
  (void)!write(log_.get(), text.data(), text.size());
  struct stat info{};
  if (fstat(log_.get(), &info) == 0 && info.st_size > kMaxLogBytes) bound_log(log_path_);
}

void ConsoleBroker::accept_viewer() {
  Viewer viewer;
  viewer.socket = UniqueFd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!viewer.socket.valid()) {
    if (would_block() || errno == ECONNABORTED) return;
    log_line("take a viewer of the console: " + errno_text(errno) + "; no more are taken");
    listener_.reset();  // it would be ready for ever
    return;
  }
  if (viewers_.size() >= kMaxViewers) {
    constexpr std::string_view kFull = "[slicer-run: too many look at this console]\r\n";
    (void)send(viewer.socket.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL);
    return;
  }
  const uint64_t id = next_id_++;
  viewer.position = output_.begin();
  if (!watch(epoll_.get(), EPOLL_CTL_ADD, viewer.socket.get(), id, 0)) return;
  Viewer& kept = viewers_[id] = std::move(viewer);
  if (!show(kept)) return remove(id);
  wait_for(id, kept);
}

void ConsoleBroker::serve(uint64_t id, uint32_t events) {
  const auto found = viewers_.find(id);
  if (found == viewers_.end()) return;  // removed by an event before this one
  Viewer& viewer = found->second;
  if ((events & EPOLLIN) != 0) (void)read_input(viewer);
  const bool there = (events & (EPOLLHUP | EPOLLERR)) == 0 && ((events & EPOLLOUT) == 0 || show(viewer));
  if (!there) return remove(id);
  wait_for(id, viewer);
}

bool ConsoleBroker::show(Viewer& viewer) {
  viewer.slow = false;
  while (viewer.position < output_.end()) {
    std::string_view text;
    std::string notice;
    const uint64_t missed = viewer.position < output_.begin() ? output_.begin() - viewer.position : 0;
    if (missed != 0) notice = fmt::format("\r\n[slicer-run: {} bytes were not shown]\r\n", missed);
    text = missed != 0 ? std::string_view(notice) : output_.piece(viewer.position);
    const ssize_t count = send(viewer.socket.get(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      viewer.slow = errno == EAGAIN;
      return viewer.slow;
    }
    viewer.position = missed != 0 ? output_.begin() : viewer.position + static_cast<uint64_t>(count);
  }
  return true;
}

ConsoleBroker::Input ConsoleBroker::read_input(Viewer& viewer) {
  if (!typed_.empty() || !viewer.input_open) return Input::kNone;
  std::array<char, 4096> chunk;
  const ssize_t count = recv(viewer.socket.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
  if (count < 0 && would_block()) return Input::kNone;
  if (count <= 0) {
    viewer.input_open = false;  // it may look on
    return Input::kEnd;
  }
  typed_.assign(chunk.data(), static_cast<size_t>(count));
  send_pending();
  return Input::kSome;
}

void ConsoleBroker::send_pending() {
  if (!serial_.valid()) typed_.clear();
  const bool held = !typed_.empty();
  while (!typed_.empty()) {
    const ssize_t count = write(serial_.get(), typed_.data(), typed_.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) typed_.clear();
    if (count > 0) typed_.erase(0, static_cast<size_t>(count));
  }
  if (held) wait_for_all();
}

// What it typed before it left still goes to the guest; what the guest does not take at once is lost.
void ConsoleBroker::remove(uint64_t id) {
  Viewer viewer = std::move(viewers_[id]);
  viewers_.erase(id);
  while (read_input(viewer) == Input::kSome) continue;
}  // closing takes it out of the epoll set: nobody else has this descriptor

void ConsoleBroker::wait_for(uint64_t id, Viewer& viewer) {
  const uint32_t wanted = (viewer.input_open && typed_.empty() ? EPOLLIN : 0U) | (viewer.slow ? EPOLLOUT : 0U);
  if (wanted == viewer.interest) return;
  if (watch(epoll_.get(), EPOLL_CTL_MOD, viewer.socket.get(), id, wanted)) viewer.interest = wanted;
}

void ConsoleBroker::wait_for_all() {
  if (serial_.valid())
    (void)watch(epoll_.get(), EPOLL_CTL_MOD, serial_.get(), kSerial, typed_.empty() ? EPOLLIN : EPOLLIN | EPOLLOUT);
  for (auto& [id, viewer] : viewers_) wait_for(id, viewer);
}

}  // namespace slicer::runner
