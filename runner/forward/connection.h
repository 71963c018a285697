#pragma once
// One connection of the relay: a client of this machine and the guest, joined.

#include <chrono>
#include <span>
#include <string>

#include "runner/forward/dialled.h"
#include "runner/forward/event_loop.h"

namespace slicer::runner {

class Connection {
 public:
  using Clock = std::chrono::steady_clock;

  /// What connections share: the loop, and room for what is just on its way.
  struct Shared {
    EventLoop loop;
    std::span<char> room;
    bool news = false;  ///< is_over() or is_undecided() of some connection may have changed
  };

  /// `target` is for messages.
  Connection(Shared& shared, UniqueFd client, Dialled guest, std::string target);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  /// Nothing more is to be carried.
  [[nodiscard]] bool is_over() const { return failed_ || (to_guest_.closed && to_client_.closed); }
  /// The guest has not answered yet: on_time() is to be called now and then.
  [[nodiscard]] bool is_undecided() const { return !decided_ && !failed_; }
  void on_time(Clock::time_point now);

 private:
  /// One end, as the loop sees it.
  class End final : public Waiter {
   public:
    End(Connection& of, bool guest) : of_(of), guest_(guest) {}
    void on_events(uint32_t events) override { of_.on_events(guest_, events); }
    UniqueFd socket = {};
    bool discards = false;  ///< it can drop bytes without copying them
    uint32_t watched = 0;

   private:
    Connection& of_;
    bool guest_;
  };

  /// One direction. What the receiver has no room for stays in the sender's socket: nothing is held here.
  struct Stream {
    bool blocked = false;  ///< the receiver has no room
    bool begun = false;    ///< something came
    bool ended = false;    ///< the sender said its last word
    bool closed = false;   ///< and the receiver knows
  };

  enum class Moved { kSome, kNothing, kBroken };

  void dial(Dialled guest);
  void on_events(bool guest, uint32_t events);
  void decide(int error);
  void carry(bool guest, uint32_t events);
  bool move(const End& from, Stream& stream, const End& to) const;
  Moved move_portion(const End& from, Stream& stream, const End& to) const;
  void await_more();
  void fail();

  Shared& shared_;
  std::string target_;
  End client_{*this, false};
  End guest_{*this, true};
  std::function<Result<void>()> confirm_ = {};
  std::function<Result<Dialled>()> instead_ = {};
  std::shared_ptr<Child> carrier_ = {};
  bool silent_end_is_refusal_ = false;
  bool decided_ = false;  ///< the guest answered
  bool failed_ = false;
  Clock::time_point deadline_ = {};  ///< for that
  Stream to_guest_ = {};
  Stream to_client_ = {};
};

/// The other end is to see an error, not the end of an empty answer.
void reset_on_close(const UniqueFd& socket);

}  // namespace slicer::runner
