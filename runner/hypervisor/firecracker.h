#pragma once
// Firecracker: one configuration file, its network device by name, its serial line on a terminal.

#include "lib/cni/json.h"
#include "runner/hypervisor/api_hypervisor.h"
#include "runner/hypervisor/given_files.h"

namespace slicer::runner {

/// The configuration file; `control`: the folder of its sockets, as it sees it. Source: Firecracker,
/// src/firecracker/swagger/firecracker.yaml (FullVmConfiguration).
cni::Json firecracker_config(const Machine& machine, const GivenFiles& files, const std::string& control);

class Firecracker : public ApiHypervisor {
 public:
  Result<void> start(Machine machine) override;
  Result<void> power_down() override;
  Result<void> quit() override;

 private:
  static Question running() { return {.path = "/", .word = "\"Running\""}; }
};

}  // namespace slicer::runner
