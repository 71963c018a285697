#include "lib/netfilter/foreign.h"

#include <algorithm>
#include <iterator>

#include "lib/netfilter/iptables/foreign.h"
#include "lib/netfilter/nftables/foreign.h"

namespace slicer::netfilter {

Result<std::vector<ForeignFirewall>> find_foreign_firewalls() {
  std::vector<ForeignFirewall> found = TRY(find_nft_firewalls());
  // Without libiptc nothing can be said of the legacy tables.
  if (Result<std::vector<ForeignFirewall>> legacy = find_legacy_firewalls())
    std::ranges::move(*legacy, std::back_inserter(found));
  return found;
}

std::vector<std::string> legacy_tables() { return legacy_tables_of_others().value_or(std::vector<std::string>()); }

}  // namespace slicer::netfilter
