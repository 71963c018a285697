#pragma once
// An operator at the keyboard, and VMs that are attached without a hypervisor.

#include <string>
#include <vector>

#include "runner/chain/runtime.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/process.h"

namespace slicer::test {

/// A conflist of slicer-bridge and slicer-firewall in the host's namespace, as the shipped one is.
Json network_list(const std::string& name, const std::string& bridge, const std::string& subnet);
/// Writes it to /etc/cni/net.d/<file>.
void write_list(const std::string& file, const Json& list);
void write_text(const std::string& path, const std::string& text);
std::string read_text(const std::string& path);

/// slicer-run with the built plugins and the test's folders.
Outcome slicer_run(const std::vector<std::string>& words);

/// One attachment on a network of /etc/cni/net.d, in the host's namespace, made by the runner's own runtime.
struct Vm {
  std::string name = "demo-1";
  std::string network = "slicer";
  std::string tap = "vmtap0";
  bool marked = true;  ///< SLICER_VM is in CNI_ARGS, as the runner sends it
};
chain::AttachmentConf attachment_of(const Vm& vm);
chain::Runtime runtime();
/// ADD; gives up when it fails.
void attach(const Vm& vm);
void detach(const Vm& vm);
/// attach(), and a record under /run/slicer whose supervisor is this test's process (alive) or nobody.
void attach_with_record(const Vm& vm, bool alive);

}  // namespace slicer::test
