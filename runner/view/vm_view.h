#pragma once
// VMs as they are at this moment: what their supervisors wrote down, held against what the kernel says.

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/result.h"
#include "lib/cni/json.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"
#include "runner/view/process_stats.h"

namespace slicer::runner {

struct VmView {
  VmRecord record = {};
  std::string_view state = "dead";              ///< "starting", "running", "stopping", "stopped", "dead"
  std::optional<ProcessStats> hypervisor = {};  ///< none: it does not run
  std::optional<double> cpu_percent = {};       ///< of one processor; since the hypervisor's start, or CpuMeter's
};

/// Asks the kernel about the record's processes, so a VM that was killed a moment ago is "dead". Seven system calls.
VmView look_at(VmRecord record);

/// All VMs, kept ones that do not run too, sorted by name. One that comes or goes meanwhile is left out, an unreadable
/// one is told and left out. Error: kSystem, when one may not be read: a list without it would say that it is not
/// there.
Result<std::vector<VmView>> look_at_vms(const Settings& settings);

/// Turns "since its start" into "since the last look": for who looks again and again.
class CpuMeter {
 public:
  void measure(std::vector<VmView>& views);

 private:
  struct Look {
    ProcessId process = {};
    std::chrono::duration<double> cpu{};
    std::chrono::duration<double> age{};
  };
  std::map<std::string, Look> last_;  ///< by the VM's name
};

/// One object a VM; docs/slicer-run.md names the members, which stay as they are.
cni::Json vm_json(const VmView& view);

/// "12s", "5m", "3h", "2d"
std::string duration_text(int64_t seconds);
/// "87 MiB"
std::string memory_text(uint64_t bytes);
/// Of the network and of the lease.
std::vector<std::string> all_gateways(const VmRecord& record);
/// What is left of its DHCP lease; "-": none, "for ever".
std::string lease_text(const VmRecord& record);

}  // namespace slicer::runner
