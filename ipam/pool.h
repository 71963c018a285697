#pragma once
// The ordered address space that one address of a result comes from: one range set of the configuration.

#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"

namespace slicer::ipam {

/// Addresses first, first + stride, … up to last, given with one prefix length.
struct Segment {
  addr::IpRange range = {};              ///< both ends are addresses that may be given
  unsigned stride = 1;                   ///< 4 in block mode: one VM address per /30
  unsigned prefix = 0;                   ///< of the address in the result
  std::optional<addr::Ip> gateway = {};  ///< the same for all; in block mode it is the address before the VM's
  bool blocks = false;                   ///< block mode
  bool on_request = false;               ///< given only to who asks for the address

  [[nodiscard]] bool contains(const addr::Ip& ip) const;
  /// The gateway that goes with `ip`.
  [[nodiscard]] std::optional<addr::Ip> gateway_of(const addr::Ip& ip) const;
};

/// Segments of one family, without overlap, in the order in which they are given out.
class Pool {
 public:
  Pool() = default;
  /// `segments` must not be empty.
  explicit Pool(std::vector<Segment> segments);

  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  [[nodiscard]] addr::Family family() const { return segments_.front().range.family(); }
  /// The segment that gives `ip`; null when none does. A gateway or an excluded block is in no segment's gift, but in
  /// its range: see is_reserved().
  [[nodiscard]] const Segment* segment_of(const addr::Ip& ip) const;
  [[nodiscard]] bool contains(const addr::Ip& ip) const { return segment_of(ip) != nullptr; }
  /// In a segment and yet never given: a gateway of the pool, or in block mode the block of a link-local address that
  /// routers and clouds use (169.254.1.1, 169.254.169.254).
  [[nodiscard]] bool is_reserved(const addr::Ip& ip) const;
  /// "192.0.2.1-192.0.2.254,198.51.100.1-198.51.100.6"
  [[nodiscard]] std::string text() const;

  /// The order of a search that goes on after `last`: the rest of its segment, the segments that follow, and round to
  /// `last` itself. Without `last`, or with one that is not of this pool: all from the beginning. Each part has the
  /// segment's stride. What is given on request alone is in none.
  struct Part {
    addr::IpRange range = {};
    unsigned stride = 1;
  };
  [[nodiscard]] std::vector<Part> search_order(const std::optional<addr::Ip>& last) const;

 private:
  std::vector<Segment> segments_;
};

}  // namespace slicer::ipam
