#pragma once
// Firecracker: one configuration file, its network device by name, its serial line on a terminal.

#include "lib/cni/json.h"
#include "runner/hypervisor/api_hypervisor.h"
#include "runner/hypervisor/given_files.h"

namespace slicer::runner {

/// The configuration file. Source: Firecracker, src/firecracker/swagger/firecracker.yaml (FullVmConfiguration).
cni::Json firecracker_config(const Machine& machine, const GivenFiles& files);

class Firecracker : public ApiHypervisor {
 public:
  Result<void> start(Machine machine) override;
  Result<void> power_down() override;
  Result<void> quit() override;

 private:
  static Question running() { return {.path = "/", .word = "\"Running\""}; }
};

}  // namespace slicer::runner
