#pragma once
// A test's own host on which Firecracker and Cloud Hypervisor are "installed": the stand-in, by their names.

#include <string>
#include <vector>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {

/// From now on this test's /proc/cpuinfo has vmx: where no guest is to run, no processor that could is needed.
void pretend_vmx();

/// A copy of a stand-in of tests/bin that says this version.
void install_stand_in(const std::string& stand_in, const std::string& path, const std::string& version);

/// A network of one plugin, in /etc/cni/net.d.
void put_network(const std::string& name, const Json& plugin);
/// Of the VM "v": its first address, without the prefix length.
std::string address_of_vm();

inline const std::vector<std::string> kVmms = {"firecracker", "cloud-hypervisor"};

struct VmmHost {
  /// Both on PATH, of these versions; the processor has vmx, as far as /proc/cpuinfo says.
  VmmHost() { install("1.16.0", "53.0"); }
  static void install(const std::string& firecracker, const std::string& cloud_hypervisor);
  /// Why they cannot be tried here; empty: they can.
  static std::string missing();
  /// `vm new` with a kernel that is an ELF file; `words` are added to its command line.
  static Outcome start(const std::string& vmm, const std::string& network, const std::string& words = {},
                       const std::string& more = {});
  /// Nothing of the VM "v" is left: no folder, no process of the stand-in, no link, no namespace.
  static std::string leftovers();

  static constexpr const char* kKernel = "/run/vmlinux";

  Host host;
  Runner runner;
};

}  // namespace slicer::test

#define SLICER_NEEDS_KVM_DEVICE() \
  if (const std::string reason = VmmHost::missing(); !reason.empty()) SLICER_SKIP(reason)
