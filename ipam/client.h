#pragma once
// How a plugin asks for addresses, whatever IPAM its configuration names: slicer-ipam in this process (the binary's own
// code; a further process would cost a third of an ADD), any other by running it.

#include "ipam/allocator.h"
#include "lib/cni/plugin_main.h"

namespace slicer::ipam {

/// ADD: the addresses, routes and name servers for this attachment; never interfaces. A configuration without an "ipam"
/// section gives an empty result. A foreign IPAM whose ADD failed has been called with DEL (SPEC.md, section 4); ours
/// undoes its own work, so that a refused second ADD of an owner does not cost it the first one's address.
/// Errors: kInvalidConfig, kExhausted, kDuplicate, kBusy, kSystem; kNotFound and kDelegate of a foreign IPAM.
Result<cni::CniResult> add(const cni::Request& request);

/// ADD for a plugin that has a say in which addresses are free; slicer-ipam only (kInternal for any other). Errors: as
/// add(); kExhausted also when all that is left is in use elsewhere.
Result<cni::CniResult> add_checked(const cni::Request& request, const Search& search);
/// Gives `ip`, which add_checked() gave, back because somebody outside uses it after all, and holds it back: the next
/// add_checked() gives another one.
Result<void> give_up(const cni::Request& request, const addr::Ip& ip);

/// DEL: gives the attachment's addresses back; none held is success. Needs no namespace and no prevResult.
Result<void> del(const cni::Request& request);

/// CHECK: the addresses are still reserved for the attachment. Error: kMismatch.
Result<void> check(const cni::Request& request);

/// GC: gives back every address of this network whose owner is not in the request's valid list; no list: nothing.
Result<void> gc(const cni::Request& request);

/// The addresses that del() gives back, or gc() when the request is that verb's: by slicer-ipam's files, which are
/// host-local's too. Of any other IPAM none are known.
Result<std::vector<addr::Ip>> find_leaving(const cni::Request& request);

/// STATUS: could an ADD work now? Error: kUnavailable (code 50) when the pool is exhausted or cannot be written.
Result<void> status(const cni::Request& request);

}  // namespace slicer::ipam
