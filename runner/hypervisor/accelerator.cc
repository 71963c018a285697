#include "runner/hypervisor/accelerator.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

constexpr const char* kDevice = "/dev/kvm";

// A flags line of /proc/cpuinfo has this word.
bool has_cpu_flag(std::string_view cpuinfo, std::string_view flag) {
  for (size_t at = cpuinfo.find(flag); at != std::string_view::npos; at = cpuinfo.find(flag, at + 1)) {
    const size_t line = cpuinfo.rfind('\n', at) + 1;  // npos + 1 is 0
    const size_t end = at + flag.size();
    const bool starts = at > line && (cpuinfo[at - 1] == ' ' || cpuinfo[at - 1] == '\t');
    const bool ends = end == cpuinfo.size() || cpuinfo[end] == ' ' || cpuinfo[end] == '\n';
    if (starts && ends && cpuinfo.substr(line).starts_with("flags")) return true;
  }
  return false;
}

bool can_virtualize(const KvmFacts& facts) {
  return !facts.x86 || has_cpu_flag(facts.cpuinfo, "vmx") || has_cpu_flag(facts.cpuinfo, "svm");
}

std::string kvm_error() {
  const UniqueFd device(open(kDevice, O_RDWR | O_CLOEXEC));
  if (!device.valid()) return std::string("open '") + kDevice + "': " + errno_text(errno);
  if (ioctl(device.get(), KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
    return std::string("'") + kDevice + "' speaks another version of KVM's interface";
  const UniqueFd vm(ioctl(device.get(), KVM_CREATE_VM, 0));
  if (!vm.valid()) return "create a KVM machine: " + errno_text(errno);
  const UniqueFd vcpu(ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  if (!vcpu.valid()) return "create a KVM processor: " + errno_text(errno);
  return {};
}

}  // namespace

Result<Accelerator> parse_accelerator(const std::string& name) {
  if (name == "auto") return Accelerator::kAuto;
  if (name == "kvm") return Accelerator::kKvm;
  if (name == "tcg") return Accelerator::kTcg;
  return fail(Kind::kInvalidConfig, "acceleration '" + name + "' is not known", "use auto, kvm or tcg");
}

const char* accelerator_name(Accelerator accelerator) {
  switch (accelerator) {
    case Accelerator::kAuto:
      return "auto";
    case Accelerator::kKvm:
      return "kvm";
    case Accelerator::kTcg:
      return "tcg";
  }
  return "?";
}

KvmFacts probe_kvm() {
#if defined(__x86_64__)
  constexpr bool kX86 = true;
#else
  constexpr bool kX86 = false;
#endif
  KvmFacts facts{.x86 = kX86, .cpuinfo = read_file("/proc/cpuinfo", size_t{16} << 20).value_or("")};
  if (can_virtualize(facts)) facts.kvm_error = kvm_error();  // taking a machine down again costs some milliseconds
  return facts;
}

std::string why_no_kvm(const KvmFacts& facts) {
  if (!can_virtualize(facts)) return "the processor has neither vmx nor svm in /proc/cpuinfo";
  return facts.kvm_error;
}

Result<Accelerator> choose_accelerator(Accelerator wanted, const KvmFacts& facts) {
  if (wanted == Accelerator::kTcg) return wanted;
  const std::string reason = why_no_kvm(facts);
  if (reason.empty()) return Accelerator::kKvm;
  if (wanted == Accelerator::kAuto) return Accelerator::kTcg;
  return fail(Kind::kUnsupportedKernel, "use acceleration 'kvm': " + reason,
              "use --accel tcg, or switch virtualization on (firmware; nested virtualization in a VM)");
}

}  // namespace slicer::runner
