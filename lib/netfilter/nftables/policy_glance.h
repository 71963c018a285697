#pragma once
// Whether a network's policies stand, by single questions without a dump: what every ADD asks. Private to the nftables
// files.

#include <string>
#include <vector>

#include "lib/netfilter/nftables/policy.h"

namespace slicer::netfilter {

class PolicyGlance {
 public:
  explicit PolicyGlance(const NetworkRules& rules);

  /// Single questions, none of them a dump.
  void ask(MessageBuffer& out) const;
  /// Further dumps; none for a bridge, whose one selector is counted.
  [[nodiscard]] std::vector<ChainPlace> chains_to_dump() const;
  void take_chain(const StandingChain& chain);
  void take_rule(const StandingRule& rule);
  void take_elements(const nlmsghdr* message);

  /// Empty when all stands, else what does not.
  [[nodiscard]] std::string missing() const;

 private:
  [[nodiscard]] bool stands(const std::string& chain, uint32_t uses) const;
  [[nodiscard]] std::string missing_chain() const;

  const NetworkRules& rules_;
  std::string id_ = {};
  bool wanted_ = false;                    ///< some list closes something, or a VM has one of its own
  std::vector<MapElement> elements_ = {};  ///< that must stand
  std::vector<StandingChain> standing_ = {};
  std::vector<MapElement> standing_elements_ = {};
  std::vector<Match> selectors_left_ = {};  ///< of a routed network
};

}  // namespace slicer::netfilter
