#pragma once
// The guest's serial line between the guest and those who look at it. The supervisor keeps it itself: a viewer comes
// and goes, sees what was there before it came, and can never hold the guest up.

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"
#include "runner/hypervisor/kinds.h"
#include "runner/supervisor/output_ring.h"
#include "runner/supervisor/side_task.h"

namespace slicer::runner {

/// Passes on what the guest writes: to the log, which stays bounded, and to every viewer, from 64 KiB before it came.
/// One that reads too slowly misses a part, and is told so; nothing is kept for it beyond those 64 KiB. What viewers
/// type goes to the guest; while the guest does not take it they wait.
class ConsoleBroker : public SideTask {
 public:
  /// `listener`: where viewers connect.
  static Result<std::unique_ptr<ConsoleBroker>> create(UniqueFd listener, const std::string& log);

  /// A new serial line, for a machine that begins: the guest's end. What came by the one before is read first.
  Result<UniqueFd> renew_line(LineKind kind = LineKind::kSocket);

  [[nodiscard]] int fd() const override { return epoll_.get(); }
  void on_readable() override;
  /// The guest's last words: read until its end.
  void on_end() override;

 private:
  struct Viewer {
    UniqueFd socket = {};
    uint64_t position = 0;   ///< of the first byte that it has not got
    bool input_open = true;  ///< it has not shut its sending side down
    bool slow = false;       ///< its socket is full
    uint32_t interest = 0;   ///< what the kernel was asked to wait for
  };

  ConsoleBroker(UniqueFd epoll, UniqueFd listener, UniqueFd log, std::string log_path)
      : epoll_(std::move(epoll)),
        listener_(std::move(listener)),
        log_(std::move(log)),
        log_path_(std::move(log_path)) {}

  /// False when there is nothing more: for now, or at the line's end.
  bool read_serial();
  void write_log(std::string_view text);
  void accept_viewer();
  void serve(uint64_t id, uint32_t events);
  /// False when the viewer is gone.
  bool show(Viewer& viewer);
  enum class Input { kSome, kNone, kEnd };
  Input read_input(Viewer& viewer);
  void send_pending();
  void remove(uint64_t id);
  void wait_for(uint64_t id, Viewer& viewer);
  void wait_for_all();

  UniqueFd epoll_;
  UniqueFd serial_ = {};
  UniqueFd listener_;
  UniqueFd log_;
  std::string log_path_;
  OutputRing output_ = {};
  std::string typed_ = {};  ///< what the guest has not taken yet; while there is any, no more is read
  std::map<uint64_t, Viewer> viewers_ = {};
  uint64_t next_id_ = 0;
};

}  // namespace slicer::runner
