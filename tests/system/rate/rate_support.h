#pragma once
// What the tests of limited rates share: the same VM on every kind of network, and a machine on the LAN that it talks
// to.

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "lib/base/unique_fd.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::rate {

/// One way to attach a VM.
struct Mode {
  std::string name = {};
  std::string plugin = {};
  Json conf = {};
  Json before = {};             ///< of the plugin before it in the chain; null: none
  bool in_host = false;         ///< the TAP is in the host's namespace
  std::string to_guest = {};    ///< the link whose root qdisc holds back what goes to the VM
  std::string from_guest = {};  ///< and what comes from it; "ifb": the attachment's; "followed": CNI_IFNAME
};
std::vector<Mode> modes();
/// slicer-tap behind a container's interface, which takes a second ADD where the others refuse one.
Mode chained_mode();
/// All of them.
std::vector<Mode> all_modes();
/// ADD of the plugin before, whose result is then the configuration's prevResult; without one `conf` as it is.
Json behind(const Mode& mode, const Json& conf, const ::slicer::test::Call& how);

/// Why limits cannot be tried on this kernel; empty: they can.
std::string why_not();

/// runtimeConfig.bandwidth, in bytes: what is 0 is left out.
struct Limits {
  uint64_t ingress_rate = 0;
  uint64_t ingress_burst = 0;
  uint64_t egress_rate = 0;
  uint64_t egress_burst = 0;
};
Json limited(const Json& conf, const Limits& limits);

/// An attachment; nothing opens the TAP.
struct Attachment {
  Attachment(const Mode& mode, const Json& conf, const std::string& id);
  [[nodiscard]] Answer call(const std::string& command, const Json& conf) const;
  /// CHECK of it, as a runtime asks.
  [[nodiscard]] Answer check(const Json& conf) const { return call("CHECK", with(conf, "prevResult", result)); }
  /// CNI_NETNS.
  [[nodiscard]] std::string netns() const { return how.netns; }
  [[nodiscard]] TapPlace place() const { return {.tap = link_of("tap"), .netns = how.netns}; }
  /// Where `where` of the mode is: the link's name in netns().
  [[nodiscard]] std::string link_of(const std::string& where) const;

  Mode mode;
  Netns box;
  ::slicer::test::Call how;
  Json result;
};

/// UDP on the LAN's machine.
class Machine {
 public:
  static constexpr uint16_t kPort = 4242;
  explicit Machine(const Surroundings& around);
  /// Datagrams of that VM (by the first letter of its name) that have come since the last call.
  size_t count(char vm);
  /// Sends to whom the last datagram came from.
  void send(size_t datagrams, size_t bytes);

 private:
  UniqueFd socket_;
  std::string peer_ = {};  ///< a sockaddr, as it came
  std::map<char, size_t> seen_ = {};
};

/// The VM with frames of its own making, each of kFrame bytes.
class Talker {
 public:
  static constexpr size_t kFrame = 1442;
  static constexpr size_t kPayload = kFrame - 14 - 20 - 8;
  Talker(const Attachment& attachment, const Surroundings& around);
  void send(size_t frames) const;
  /// Frames of kFrame bytes that have come since the last call.
  size_t count() const;

 private:
  RawGuest raw_;
  Bytes frame_;
};

using Clock = std::chrono::steady_clock;
/// What a bucket may have let through at the most since `begin`, in bytes.
double budget(uint64_t rate, uint64_t burst, Clock::time_point begin);

}  // namespace slicer::test::rate
