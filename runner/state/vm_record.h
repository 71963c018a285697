#pragma once
// What is known of a VM: /run/slicer/<vm>/state.json, written by its supervisor, read by every command. /run is a
// tmpfs: after a reboot nothing is left, and nothing of it is true any more.

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/result.h"
#include "lib/cni/json.h"
#include "runner/settings.h"
#include "runner/state/process_id.h"

namespace slicer::runner {

/// Where the attachment's TAP is made.
enum class Placement { kPrivate, kHost };

enum class Phase {
  kStarting,  ///< the ADD chain or the hypervisor's start is under way
  kRunning,
  kStopping,  ///< the hypervisor ended, or is being ended; the DEL chain comes next
  kStopped,   ///< kept (vm_definition.h) and not running; never in a state.json
};
const char* phase_name(Phase phase);

/// One VM. Its name is CNI_CONTAINERID.
struct VmRecord {
  std::string name = {};
  Phase phase = Phase::kStarting;
  int64_t created = 0;  ///< seconds since the epoch
  ProcessId supervisor = {};
  ProcessId hypervisor = {};

  std::string group = {};       ///< the host group it is of; empty: none
  std::string group_file = {};  ///< the file that the group is written in, without links in its path

  // The attachment, as the ADD chain got it: a DEL must get the same.
  std::string network = {};
  std::string conflist = {};               ///< the list's text at the time of ADD
  std::string conf_dir = {};               ///< where the network was found
  std::vector<std::string> cni_path = {};  ///< where its plugins were found
  std::string cache_dir = {};              ///< where the result is kept
  std::vector<std::pair<std::string, std::string>> cni_args = {};
  cni::Json capability_args = cni::Json::object();  ///< runtimeConfig, by capability
  Placement placement = Placement::kPrivate;
  std::string netns = {};   ///< CNI_NETNS: a path
  std::string ifname = {};  ///< CNI_IFNAME: the TAP's name, or that of the interface that it stands for
  bool attached = false;    ///< false: the ADD chain has not been started yet

  // What the ADD chain answered.
  std::string tap = {};                     ///< the TAP in `netns`
  std::string mac = {};                     ///< the guest's
  std::vector<std::string> addresses = {};  ///< CIDRs
  std::vector<std::string> gateways = {};

  // What its guest was seen to use beside that (runner/lease).
  struct Lease {
    std::string address = {};  ///< CIDR
    std::string router = {};   ///< empty: none
    std::string server = {};   ///< empty: not told
    int64_t end = 0;           ///< seconds since the epoch; 0: never
    friend bool operator==(const Lease&, const Lease&) = default;
  };
  std::optional<Lease> lease = {};               ///< of a DHCP server
  std::vector<std::string> seen_addresses = {};  ///< IPv6, without prefix length
  std::string link_local = {};                   ///< its fe80 address; empty: not seen
  bool link_gone = false;  ///< its link was deleted while it ran, as a macvtap's is with its parent

  // The machine.
  std::string hypervisor_name = {};  ///< "qemu"
  std::string accelerator = {};      ///< "kvm" or "tcg"
  unsigned vcpus = 1;
  unsigned ram_mib = 0;

  cni::Json definition = cni::Json::object();  ///< how to boot it again (vm_definition.h), without the conflist above
  friend bool operator==(const VmRecord&, const VmRecord&) = default;
};

/// CIDRs of both: what the network gave, what a DHCP server leased, and what the guest was seen to use, as /64 (nobody
/// says the length; router advertisements know no other).
std::vector<std::string> all_addresses(const VmRecord& record);

std::string record_text(const VmRecord& record);
/// Errors: kDecode.
Result<VmRecord> parse_record(std::string_view text);

/// Errors: kNotFound (no such VM), kDecode, kSystem.
Result<VmRecord> load_record(const Settings& settings, const std::string& name);
Result<void> save_record(const Settings& settings, const VmRecord& record);

/// Its supervisor runs. (Asks the kernel for the recorded process; does not touch the lock.)
bool is_alive(const VmRecord& record);

/// What commands call its state: its phase while it is alive, "stopped", else "dead".
const char* state_name(const VmRecord& record);

}  // namespace slicer::runner
