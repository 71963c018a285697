#include "runner/supervisor/packet_share.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = SideTask::Clock;

constexpr auto kFirstPause = 50ms;
constexpr auto kLongestPause = 30s;
constexpr auto kNoRoomPause = 10s;
constexpr size_t kMessageRoom = 8192;
constexpr int kMessagesAtOnce = 64;

struct Endpoint {
  UniqueFd socket = {};
  sockaddr_un address = {};
};

Result<Endpoint> endpoint(const std::string& path) {
  Endpoint end;
  end.socket = UniqueFd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!end.socket.valid()) return fail_errno(errno, "make a socket");
  end.address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(end.address.sun_path)) return fail_errno(ENAMETOOLONG, "use socket '" + path + "'");
  (void)path.copy(end.address.sun_path, path.size());
  return end;
}

const sockaddr* generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);  // the sockets API
}

/// The folder lets nobody else in; who is there all the same is turned away.
bool is_same_user(int fd) {
  ucred other{};
  socklen_t size = sizeof(other);
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &other, &size) == 0 && other.uid == geteuid();
}

/// One descriptor for each VM of the host.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);  // else the VMs beyond it are not told of
}

bool watch(const UniqueFd& events, int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  return epoll_ctl(events.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

}  // namespace

SharedPackets::SharedPackets(const std::string& state_dir, PacketSink sink)
    : path_(state_dir + "/.packet-log"), sink_(std::move(sink)) {
  join();
}

SharedPackets::~SharedPackets() {
  if (role_ != Role::kReader) return;
  // While the group is ours nobody else can have made this file.
  (void)unlink(path_.c_str());
  listener_.reset();
  members_.clear();
}

int SharedPackets::fd() const {
  if (role_ == Role::kReader) return events_.get();
  return role_ == Role::kMember ? reader_.get() : -1;
}

void SharedPackets::join() {
  role_ = Role::kNone;
  reader_.reset();
  retry_at_ = Clock::time_point::max();
  Result<netfilter::PacketLog> log = netfilter::PacketLog::open(netfilter::kLogGroup);
  if (log) {
    const Result<void> done = become_reader(std::move(*log));
    if (!done) log_line(done.error().message + "; what is dropped will not be told, ignoring");
    return;
  }
  if (log.error().kind != Kind::kBusy) return log_line(log.error().message + "; what is dropped will not be told");
  if (!become_member()) retry_later();
}

void SharedPackets::retry_later() {
  role_ = Role::kNone;
  pause_ = std::clamp<std::chrono::milliseconds>(2 * pause_, kFirstPause, kLongestPause);
  retry_at_ = Clock::now() + pause_;
}

bool SharedPackets::become_member() {
  Result<Endpoint> end = endpoint(path_);
  if (!end || connect(end->socket.get(), generic(end->address), sizeof(end->address)) != 0) return false;
  const std::string hello = ends_text(sink_.ends());
  if (!is_same_user(end->socket.get()) || send(end->socket.get(), hello.data(), hello.size(), MSG_NOSIGNAL) < 0)
    return false;
  reader_ = std::move(end->socket);
  role_ = Role::kMember;
  pause_ = 0ms;
  return true;
}

Result<void> SharedPackets::become_reader(netfilter::PacketLog log) {
  events_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!events_.valid() || !watch(events_, log.fd())) return fail_errno(errno, "wait for dropped packets");
  log_ = std::move(log);
  role_ = Role::kReader;
  raise_descriptor_limit();
  // Without it this VM's packets are told all the same.
  if (const Result<void> heard = listen(); !heard) log_line(heard.error().message + ", ignoring");
  return {};
}

Result<void> SharedPackets::listen() {
  Endpoint end = TRY(endpoint(path_));
  TRY(delete_file(path_));  // of a reader that was killed
  if (bind(end.socket.get(), generic(end.address), sizeof(end.address)) != 0 ||
      ::listen(end.socket.get(), SOMAXCONN) != 0 || !watch(events_, end.socket.get()))
    return fail_errno(errno, "listen on '" + path_ + "'");
  (void)chmod(path_.c_str(), 0600);
  listener_ = std::move(end.socket);
  return {};
}

void SharedPackets::on_readable() {
  if (role_ == Role::kMember) return receive();
  std::array<epoll_event, 32> ready{};
  const int count = epoll_wait(events_.get(), ready.data(), ready.size(), 0);
  const auto events = std::span(ready).first(static_cast<size_t>(std::max(count, 0)));
  // Who came before a packet gets it.
  for (const epoll_event& event : events)
    if (event.data.fd == listener_.get())
      accept_members();
    else if (event.data.fd != log_->fd())
      hear_member(event.data.fd);
  for (const epoll_event& event : events)
    if (event.data.fd == log_->fd()) read_packets();
}

void SharedPackets::on_time() {
  if (role_ != Role::kReader) return join();
  retry_at_ = Clock::time_point::max();
  if (listener_.valid()) (void)watch(events_, listener_.get());
}

void SharedPackets::accept_members() {
  while (accept_one()) {
  }
}

bool SharedPackets::accept_one() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    if (errno != EMFILE && errno != ENFILE) return errno == EINTR || errno == ECONNABORTED;
    // It would stay readable and keep this process busy.
    (void)epoll_ctl(events_.get(), EPOLL_CTL_DEL, listener_.get(), nullptr);
    retry_at_ = Clock::now() + kNoRoomPause;
    return false;
  }
  if (!is_same_user(socket.get()) || !watch(events_, socket.get())) return true;
  const int fd = socket.get();
  members_.push_back({.socket = std::move(socket)});
  hear_member(fd);
  return true;
}

void SharedPackets::hear_member(int fd) {
  const auto member = std::ranges::find_if(members_, [&](const Member& each) { return each.socket.get() == fd; });
  if (member == members_.end()) return;
  std::array<char, kMessageRoom> text{};
  const ssize_t count = recv(fd, text.data(), text.size(), MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  Result<PacketEnds> ends = parse_ends({text.data(), static_cast<size_t>(std::max<ssize_t>(count, 0))});
  if (count <= 0 || !ends)
    members_.erase(member);  // closing takes it out of the events
  else
    member->ends = std::move(*ends);
}

void SharedPackets::read_packets() {
  log_->read([&](std::span<const uint8_t> message) { hand_out(message); });
}

void SharedPackets::hand_out(std::span<const uint8_t> message) {
  const std::optional<netfilter::LoggedPacket> packet = read_packet(message);
  if (!packet) return;
  if (sink_.ends().sent(*packet)) return sink_.take(*packet);
  const auto is = [&](bool (PacketEnds::*whose)(const netfilter::LoggedPacket&) const) {
    return std::ranges::find_if(members_,
                                [&](const Member& each) { return each.ends && ((*each.ends).*whose)(*packet); });
  };
  auto member = is(&PacketEnds::sent);
  if (member == members_.end() && sink_.ends().gets(*packet)) return sink_.take(*packet);
  if (member == members_.end()) member = is(&PacketEnds::gets);
  if (member == members_.end()) return;  // a VM that another program made
  (void)!send(member->socket.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL);  // full: lost
}

void SharedPackets::receive() {
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    alignas(8) std::array<uint8_t, kMessageRoom> message{};
    const ssize_t count = recv(reader_.get(), message.data(), message.size(), MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return join();
    if (const auto packet = read_packet(std::span(message).first(static_cast<size_t>(count)))) sink_.take(*packet);
  }
}

}  // namespace slicer::runner
