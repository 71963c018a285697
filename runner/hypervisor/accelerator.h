#pragma once
// Which acceleration works here.

#include <string>
#include <string_view>

#include "lib/base/result.h"

namespace slicer::runner {

/// kAuto becomes one of the others before a hypervisor sees it.
enum class Accelerator { kAuto, kKvm, kTcg };

/// "auto", "kvm", "tcg". Error: kInvalidConfig.
Result<Accelerator> parse_accelerator(const std::string& name);
const char* accelerator_name(Accelerator accelerator);

/// What the host says about KVM.
struct KvmFacts {
  bool x86 = true;
  std::string cpuinfo = {};    ///< /proc/cpuinfo
  std::string kvm_error = {};  ///< why /dev/kvm makes no VM and vCPU; empty: it does, or was not asked
};
KvmFacts probe_kvm();

/// Empty when KVM works, else why not. On x86 a /dev/kvm alone proves nothing: without vmx or svm a guest would start
/// and then spin without ever running.
std::string why_no_kvm(const KvmFacts& facts);

/// Resolves kAuto; kKvm where KVM does not work is an error that says why.
Result<Accelerator> choose_accelerator(Accelerator wanted, const KvmFacts& facts);

}  // namespace slicer::runner
