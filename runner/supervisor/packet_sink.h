#pragma once
// Dropped packets of one VM, a line each in its packets.log.

#include <chrono>
#include <cstdint>
#include <ctime>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/addr/mac.h"
#include "lib/netfilter/logged_packet.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// By what a packet is known as a VM's.
struct PacketEnds {
  addr::Mac mac = {};
  std::vector<addr::Ip> addresses = {};

  static PacketEnds of(const VmRecord& record);
  /// The VM sent it: its MAC, or, where the packet came by no Ethernet device, its address.
  [[nodiscard]] bool sent(const netfilter::LoggedPacket& packet) const;
  /// It is addressed to the VM.
  [[nodiscard]] bool gets(const netfilter::LoggedPacket& packet) const;
  friend bool operator==(const PacketEnds&, const PacketEnds&) = default;
};

/// A message of the group; none: it is not readable, or no rule of ours told of it.
std::optional<netfilter::LoggedPacket> read_packet(std::span<const uint8_t> message);

/// "02:00:5e:00:53:01 192.0.2.2 2001:db8::2", from supervisor to supervisor.
std::string ends_text(const PacketEnds& ends);
/// Error: kInvalidConfig.
Result<PacketEnds> parse_ends(std::string_view text);

/// "2026-11-22T06:12:03Z dropped: from the VM, tcp 192.0.2.2:4711 -> 198.51.100.7:22, by the lists of network 'demo'"
std::string packet_line(const netfilter::LoggedPacket& packet, const PacketEnds& ends, std::time_t now);

/// So many a second in the long run, so many at once.
class RateLimit {
 public:
  using Clock = std::chrono::steady_clock;
  /// True: this one may pass.
  bool take(Clock::time_point now);

 private:
  double tokens_ = kBurst;
  Clock::time_point last_ = {};
  static constexpr double kPerSecond = 10;
  static constexpr double kBurst = 20;
};

/// Appends lines to a file that is kept bounded; what a guest sends too fast is counted, and told with the next line.
class PacketSink {
 public:
  PacketSink(std::string path, PacketEnds ends) : path_(std::move(path)), ends_(std::move(ends)) {}

  [[nodiscard]] const PacketEnds& ends() const { return ends_; }
  void take(const netfilter::LoggedPacket& packet);

 private:
  std::string path_;
  PacketEnds ends_;
  RateLimit limit_ = {};
  uint64_t left_out_ = 0;
};

}  // namespace slicer::runner
