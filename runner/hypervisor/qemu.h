#pragma once
// QEMU: everything it needs is handed over as descriptors, so that its user needs no right to any file.

#include "runner/hypervisor/confined_process.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/hypervisor/qmp.h"

namespace slicer::runner {

/// Descriptors of one disk; -1: none.
struct QemuDisk {
  int file = -1;
  int base = -1;
};

/// The numbers of the descriptors that QEMU inherits; -1: none.
struct QemuDescriptors {
  int tap = -1;
  int console = -1;
  int control = -1;  ///< one end of a socket pair, QMP
  int kernel = -1;
  int initrd = -1;
  std::vector<QemuDisk> disks = {};  ///< as the machine's
};

/// The parts of a command line that depend on the processor.
struct QemuPlatform {
  const char* program = "";
  const char* machine = "";
  const char* tcg_cpu = "";
};
/// Of the processor that this program is built for.
QemuPlatform qemu_platform();

/// The whole command line without the program.
std::vector<std::string> qemu_arguments(const Machine& machine, const QemuPlatform& platform,
                                        const QemuDescriptors& descriptors);

class Qemu : public Hypervisor {
 public:
  Result<void> start(Machine machine) override;
  [[nodiscard]] ProcessId process() const override { return process_->id(); }
  [[nodiscard]] int pidfd() const override { return process_->pidfd().get(); }
  [[nodiscard]] int event_fd() const override { return control_.fd(); }
  bool read_events() override { return control_.drop_events(); }
  bool was_reset() override { return (void)control_.drop_events(), control_.saw_reset(); }
  Result<void> power_down() override;
  Result<void> quit() override;
  void kill() override { process_->kill(); }

 private:
  std::unique_ptr<ConfinedProcess> process_ = {};
  Qmp control_ = {};
};

}  // namespace slicer::runner
