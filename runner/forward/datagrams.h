#pragma once
// UDP: datagrams of this machine's programs to a port of the guest, and the answers back.

#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runner/forward/event_loop.h"

namespace slicer::runner {

class Datagrams final : public Waiter {
 public:
  using Clock = std::chrono::steady_clock;
  /// Makes a connected socket to the guest.
  using Open = std::function<Result<UniqueFd>()>;

  /// Of more senders the one unheard longest is forgotten, and every one that nothing came from or went to for so long.
  static constexpr size_t kMaxSenders = 1024;
  static constexpr auto kIdleLimit = std::chrono::seconds(120);

  /// `socket` is bound and non-blocking, and stays the caller's; `room` takes the largest datagram.
  Datagrams(const EventLoop& loop, std::span<char> room, int socket, Open open);
  ~Datagrams() override;

  void on_events(uint32_t events) override;
  /// There are senders: on_time() is to be called now and then.
  [[nodiscard]] bool has_senders() const { return !senders_.empty(); }
  void on_time(Clock::time_point now);

 private:
  /// Who sent something, and a socket of its own to the guest, by which the answers are known as its.
  class Sender final : public Waiter {
   public:
    Sender(Datagrams& of, UniqueFd to_guest, const sockaddr_storage& address, socklen_t size);
    ~Sender() override;
    void on_events(uint32_t events) override;
    void send_on(std::span<const char> datagram);
    [[nodiscard]] Clock::time_point last() const { return last_; }

   private:
    Datagrams& of_;
    UniqueFd guest_;
    uint32_t watched_ = 0;
    sockaddr_storage address_;
    socklen_t size_;
    Clock::time_point last_ = Clock::now();
  };

  Sender* sender_of(const sockaddr_storage& address, socklen_t size);
  void forget_oldest();

  const EventLoop& loop_;
  std::span<char> room_;
  int socket_;
  uint32_t watched_ = 0;
  Open open_;
  std::map<std::string, std::unique_ptr<Sender>> senders_ = {};  ///< by their address's bytes
  std::vector<std::unique_ptr<Sender>> forgotten_ = {};          ///< until the round is over: an event may be under way
};

}  // namespace slicer::runner
