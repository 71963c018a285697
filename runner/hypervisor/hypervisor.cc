#include "runner/hypervisor/hypervisor.h"

#include "runner/hypervisor/qemu.h"

namespace slicer::runner {

const char* disk_format(const std::string& path) { return path.ends_with(".qcow2") ? "qcow2" : "raw"; }

Result<std::unique_ptr<Hypervisor>> make_hypervisor(const std::string& name) {
  if (name == "qemu") return std::make_unique<Qemu>();
  return fail(Kind::kInvalidConfig, "hypervisor '" + name + "' is not known", "use qemu");
}

}  // namespace slicer::runner
