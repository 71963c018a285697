#pragma once
// One reader of the host's NFLOG group for the supervisors of many VMs.

#include <optional>
#include <string>
#include <vector>

#include "lib/base/unique_fd.h"
#include "lib/netfilter/packet_log.h"
#include "runner/supervisor/packet_sink.h"
#include "runner/supervisor/side_task.h"

namespace slicer::runner {

/// Reads for all, or is given its VM's packets by the one who does, or (another program has the group) waits for its
/// turn. A reader's end is a hang-up for the others: they try at once, and nobody wakes up for nothing meanwhile.
class SharedPackets final : public SideTask {
 public:
  SharedPackets(const std::string& state_dir, PacketSink sink);
  ~SharedPackets() override;

  [[nodiscard]] int fd() const override;
  void on_readable() override;
  [[nodiscard]] Clock::time_point next_wakeup() const override { return retry_at_; }
  void on_time() override;

  enum class Role { kNone, kReader, kMember };
  [[nodiscard]] Role role() const { return role_; }

 private:
  /// Another VM's supervisor.
  struct Member {
    UniqueFd socket = {};
    std::optional<PacketEnds> ends = {};  ///< absent: it has not said so yet
  };

  void join();
  void retry_later();
  bool become_member();
  Result<void> become_reader(netfilter::PacketLog log);
  Result<void> listen();
  void accept_members();
  bool accept_one();  ///< false: nobody waits, or there is no room
  void read_packets();
  void hand_out(std::span<const uint8_t> message);
  void hear_member(int fd);
  void receive();

  std::string path_;
  PacketSink sink_;
  Role role_ = Role::kNone;
  Clock::time_point retry_at_ = Clock::time_point::max();
  std::chrono::milliseconds pause_{};
  // A reader's. The group goes last, so that whoever gets it next finds the socket's name free.
  std::optional<netfilter::PacketLog> log_ = {};
  UniqueFd events_ = {};
  UniqueFd listener_ = {};
  std::vector<Member> members_ = {};
  // A member's.
  UniqueFd reader_ = {};
};

}  // namespace slicer::runner
