#include "runner/hypervisor/hypervisor.h"

#include "runner/hypervisor/qemu.h"

namespace slicer::runner {

Result<std::unique_ptr<Hypervisor>> make_hypervisor(const std::string& name) {
  if (name == "qemu") return std::make_unique<Qemu>();
  return fail(Kind::kInvalidConfig, "hypervisor '" + name + "' is not known", "use qemu");
}

}  // namespace slicer::runner
