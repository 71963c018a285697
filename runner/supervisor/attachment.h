#pragma once
// A VM's attachment to its network: the sandbox, the TAP's name, the chain's ADD and DEL.

#include "lib/base/result.h"
#include "lib/cni/result_types.h"
#include "runner/chain/conflist.h"
#include "runner/chain/runtime.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// The runtime as the flags want it; with --debug each call of a plugin is shown on stderr.
chain::RuntimeSettings runtime_settings(const Settings& settings);

/// Makes the sandbox, chooses the TAP's name and runs the ADD chain. The record says, on disk too, what a DEL needs
/// before each step that needs one. Undoes nothing: detach() does, after a failure too.
Result<cni::CniResult> attach(const Settings& settings, const chain::Conflist& network, VmRecord& record);

/// Runs the DEL chain and removes the sandbox; what is absent is success.
Result<void> detach(const Settings& settings, const VmRecord& record);

/// The VM's end of a result. Error: kUnsupportedField, when the network gives a container's interface.
struct VmInterface {
  cni::Interface tap = {};
  cni::Interface guest = {};
  int guest_index = 0;
};
Result<VmInterface> vm_interface(const cni::CniResult& result, const VmRecord& record);

}  // namespace slicer::runner
