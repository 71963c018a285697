#pragma once
// Cloud Hypervisor: a command line, its network device by descriptor, its serial line on a terminal.

#include "runner/hypervisor/api_hypervisor.h"
#include "runner/hypervisor/given_files.h"

namespace slicer::runner {

/// The numbers of what it inherits.
struct CloudHypervisorDescriptors {
  int tap = -1;
  int api = -1;  ///< the listening socket of its API
};

/// The whole command line without the program. `landlock`: it locks itself to its own files.
std::vector<std::string> cloud_hypervisor_arguments(const Machine& machine, const GivenFiles& files,
                                                    const CloudHypervisorDescriptors& descriptors, bool landlock);

class CloudHypervisor : public ApiHypervisor {
 public:
  Result<void> start(Machine machine) override;
  Result<void> power_down() override;
  Result<void> quit() override;
};

}  // namespace slicer::runner
