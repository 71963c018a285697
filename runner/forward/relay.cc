#include "runner/forward/relay.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <list>

#include "lib/base/log.h"
#include "runner/forward/connection.h"
#include "runner/forward/datagrams.h"
#include "runner/forward/listen.h"

namespace slicer::runner {
namespace {

constexpr size_t kRoom = size_t{128} << 10;  // more than the largest datagram, too
constexpr int kAcceptAtOnce = 64;
constexpr int kUndecidedTickMs = 200;
constexpr int kSendersTickMs = 5000;

class Until final : public Waiter {
 public:
  Until(const EventLoop& loop, int fd, bool& reached) : loop_(loop), fd_(fd), reached_(reached) {
    loop_.watch(fd_, EPOLLIN, watched_, this);
  }
  Until(const Until&) = delete;
  Until& operator=(const Until&) = delete;
  ~Until() override { loop_.watch(fd_, 0, watched_, this); }
  void on_events(uint32_t /*events*/) override { reached_ = true; }

 private:
  const EventLoop& loop_;
  int fd_;
  bool& reached_;
  uint32_t watched_ = 0;
};

}  // namespace

/// What lives as long as run().
class RelayRun {
 public:
  RelayRun(const Relay& relay, EventLoop loop) : relay_(relay), shared_{.loop = std::move(loop), .room = room_} {
    for (const Relay::Door& door : relay.doors_) {
      if (door.spec.transport == Transport::kTcp)
        entrances_.emplace_back(*this, door);
      else
        datagrams_.emplace_back(shared_.loop, shared_.room, door.socket.get(), opener(door.spec));
    }
  }

  void carry(const std::vector<int>& until) {
    bool reached = false;
    std::list<Until> ends;
    for (const int fd : until) ends.emplace_back(shared_.loop, fd, reached);
    while (!reached) {
      shared_.loop.wait(limit_ms());
      if (shared_.news || limit_ms() >= 0) clear_up();
    }
  }

 private:
  /// A listening socket.
  class Entrance final : public Waiter {
   public:
    Entrance(RelayRun& of, const Relay::Door& door) : of_(of), door_(door) { open(true); }
    Entrance(const Entrance&) = delete;
    Entrance& operator=(const Entrance&) = delete;
    ~Entrance() override { open(false); }
    void on_events(uint32_t /*events*/) override { of_.accept_from(door_); }
    void open(bool yes) { of_.shared_.loop.watch(door_.socket.get(), yes ? uint32_t{EPOLLIN} : 0U, watched_, this); }

   private:
    RelayRun& of_;
    const Relay::Door& door_;
    uint32_t watched_ = 0;
  };

  Datagrams::Open opener(const ForwardSpec& spec) {
    return [this, spec]() -> Result<UniqueFd> {
      Dialled dialled = TRY(relay_.dial_(spec));
      return std::move(dialled.socket);
    };
  }

  void accept_from(const Relay::Door& door) {
    for (int i = 0; i < kAcceptAtOnce && connections_.size() < Relay::kMaxConnections; ++i)
      if (!accept_one(door)) break;
    shared_.news = true;
  }

  // False: nobody waits, or there is no room.
  bool accept_one(const Relay::Door& door) {
    UniqueFd client(accept4(door.socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!client.valid()) {
      out_of_descriptors_ = errno == EMFILE || errno == ENFILE;
      return errno == ECONNABORTED || errno == EINTR;  // that one is gone again
    }
    const int on = 1;
    (void)setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);  // who relays holds nothing back
    Result<Dialled> guest = relay_.dial_(door.spec);
    if (guest) {
      connections_.emplace_back(shared_, std::move(client), std::move(*guest), target_text(door.spec, "the guest"));
      return true;
    }
    log_line(guest.error().message);
    reset_on_close(client);
    return true;
  }

  void clear_up() {
    shared_.news = false;
    const auto now = Connection::Clock::now();
    undecided_ = 0;
    for (Connection& each : connections_) {
      each.on_time(now);
      if (each.is_undecided()) ++undecided_;
    }
    if (std::erase_if(connections_, [](const Connection& each) { return each.is_over(); }) > 0)
      out_of_descriptors_ = false;
    for (Datagrams& each : datagrams_) each.on_time(now);
    // While there is no room, those who wait must not wake us up.
    const bool room = connections_.size() < Relay::kMaxConnections && (!out_of_descriptors_ || connections_.empty());
    for (Entrance& each : entrances_) each.open(room);
  }

  [[nodiscard]] int limit_ms() const {
    if (undecided_ > 0) return kUndecidedTickMs;
    for (const Datagrams& each : datagrams_)
      if (each.has_senders()) return kSendersTickMs;
    return -1;
  }

  const Relay& relay_;
  std::vector<char> room_ = std::vector<char>(kRoom);
  Connection::Shared shared_;
  std::list<Entrance> entrances_ = {};
  std::list<Datagrams> datagrams_ = {};
  std::list<Connection> connections_ = {};
  size_t undecided_ = 0;
  bool out_of_descriptors_ = false;
};

Relay::~Relay() {
  for (const Door& door : doors_)
    if (!door.spec.listen_path.empty()) (void)unlink(door.spec.listen_path.c_str());
}

Result<uint16_t> Relay::listen(const ForwardSpec& spec) {
  Bound bound = TRY(bind_listener(spec));
  doors_.push_back({.spec = spec, .socket = std::move(bound.socket)});
  return bound.port;
}

Result<void> Relay::run(const std::vector<int>& until) {
  RelayRun(*this, TRY(EventLoop::make())).carry(until);
  return {};
}

}  // namespace slicer::runner
