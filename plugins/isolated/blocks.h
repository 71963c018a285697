#pragma once
// Choosing a /30 block: by IPAM, as long as neither the host nor another program uses it.

#include <functional>
#include <vector>

#include "lib/base/undo.h"
#include "plugins/isolated/call.h"

namespace slicer::isolated {

/// The ranges in the order in which they are tried: the one of the configuration, or those of the network's name.
std::vector<addr::Cidr> ranges_of(const Call& call);

/// 169.254.1.1, what stands for the host in every namespace: link-local, so it is nobody else's there (container
/// networks use the same), and never part of a block.
addr::Ip next_hop();

/// The call as IPAM gets it: the section completed; with `range`, with the blocks to choose from.
cni::Request ipam_request(const Call& call, const std::optional<addr::Cidr>& range = {});

/// A block that is this attachment's.
struct Block {
  cni::CniResult addresses = {};  ///< one IPv4 address, a /30
  addr::Cidr range = {};          ///< that it is from; from another IPAM: the block itself
};

/// Takes the block for the host (its route); false: somebody was faster.
using Claim = std::function<Result<bool>(const addr::Ip& guest)>;

/// Undo: gives the address back. Errors: kExhausted (every range is full or in use), kExists (the address that was
/// asked for, or that another IPAM gave, is in use), kInvalidConfig (another IPAM gave something else than a /30).
Result<Block> reserve_block(Call& call, const Claim& claim, Undo& undo);

/// Does the host use a part of the /30 that `guest` is in: an address of its own in it, or a route as long as the
/// range's prefix or longer? (The link route 169.254.0.0/16 of a host without addresses is no sign of use.)
Result<bool> is_block_used(net::RouteSocket& host, const addr::Ip& guest, unsigned range_prefix);

/// The guest's addresses as a result has them. Error: kInvalidConfig, when they are not those of one /30.
Result<GuestPlan> plan_guest(const Call& call, const cni::CniResult& addresses);

}  // namespace slicer::isolated
