#pragma once
// Whether a network has left anything in nf_tables.

#include <string>

#include "lib/base/result.h"

namespace slicer::netfilter {

/// A chain, a policy or a listed bridge of the network stands in our table. One that asks after `slicer-run network rm`
/// gets false. Errors: kBusy (the ruleset changes all the time), kSystem.
Result<bool> has_nftables_rules(const std::string& network);

}  // namespace slicer::netfilter
