#pragma once
// Matches and verdicts between our rules and nf_tables' expressions. Private to the nftables files.

#include <optional>
#include <string>

#include "lib/netfilter/ruleset.h"

struct nftnl_rule;

namespace slicer::netfilter {

/// A rule read from its expressions, without comment; absent when it has an expression that ours never have.
struct DecodedRule {
  std::optional<Rule> rule = {};
  std::string xt_comment = {};  ///< of iptables' own comment match: what iptables-restore makes of our comment
};

/// Appends the expressions of `rule`. `any_family`: the table is of the inet family, so that an address match must say
/// its protocol first.
void encode_expressions(nftnl_rule* rule, const Rule& description, bool any_family);

DecodedRule decode_expressions(const nftnl_rule* rule);

}  // namespace slicer::netfilter
