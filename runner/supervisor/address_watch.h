#pragma once
// Learns a VM's addresses while it runs: the lease that its LAN's DHCP server gave, its IPv6 addresses.

#include <functional>
#include <memory>

#include "lib/addr/mac.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"
#include "runner/lease/address_book.h"
#include "runner/state/vm_record.h"
#include "runner/supervisor/side_task.h"

namespace slicer::runner {

/// What a watch tells.
struct AddressNews {
  std::function<void(const AddressBook&)> on_change = {};  ///< the book has changed; at most once a second
  std::function<void()> on_link_gone = {};                 ///< the link was deleted; once, and nothing comes after it
};

/// Watches the VM's link in `sandbox` from now on. A guest that floods the link is heard only in part. Leases end by
/// LeaseClock, so after the host has slept, too. Errors: those of net::watch_address_frames(), kSystem.
Result<std::unique_ptr<SideTask>> watch_addresses(const net::Netns& sandbox, const net::Link& tap,
                                                  const addr::Mac& guest, AddressNews news);

/// Puts what the book knows into the record. @return whether the record has changed.
bool note_addresses(const AddressBook& book, VmRecord& record);

}  // namespace slicer::runner
