// The table in a VM's namespace, whichever backend has it.
#include "lib/netfilter/vm_table.h"

#include <fmt/format.h>

#include <utility>

#include "lib/base/hash.h"
#include "lib/netfilter/iptables/table.h"

namespace slicer::netfilter {

VmListsMark lists_mark(const VmTableRules& rules) {
  std::string text;
  for (const AddressVerdict& each : rules.policy.addresses)
    text += fmt::format("{} {}\n", each.addresses.text(), static_cast<int>(each.verdict));
  for (const PortVerdict& each : rules.policy.ports)
    text += fmt::format("{} {}-{} {}\n", each.addresses.text(), each.ports.first, each.ports.last,
                        static_cast<int>(each.verdict));
  text += fmt::format("{}\n", static_cast<int>(rules.policy.fallback));
  if (rules.log)
    text += fmt::format("{} {} {} {}\n", rules.log->group, rules.log->per_second, rules.log->burst, rules.log->prefix);
  return {.compiled = base32(hash_names({text}), 12), .lists = rules.lists.empty() ? "-" : rules.lists};
}

bool has_same_lists(const std::string& comment, const VmListsMark& wanted) {
  return comment.starts_with("policy ") && comment.ends_with(" " + wanted.lists);
}

std::unexpected<Error> foreign_vm_table(const std::string& action, const std::string& mark) {
  return fail(Kind::kExists, fmt::format("{} of '{}' is in the namespace", action, mark),
              "an isolated VM needs a namespace of its own; delete the other attachment, or make another namespace");
}

struct VmTable::State {
  BackendName place = BackendName::kAuto;
  bool legacy = true;  ///< there may be legacy tables
  std::unique_ptr<VmTableStore> nft = {};
  std::unique_ptr<VmTableStore> iptables = {};

  /// The one in `where`, opened when the table was.
  [[nodiscard]] VmTableStore& at(BackendName where) const {
    return where == BackendName::kIptables && iptables ? *iptables : *nft;
  }
  /// Where the table stands: asks nftables, and the legacy tables only where they are in use.
  Result<std::optional<std::string>> find() {
    std::optional<std::string> mark = nft ? TRY(nft->mark()) : std::nullopt;
    if (mark && place == BackendName::kAuto) place = BackendName::kNftables;
    if (mark || !iptables) return mark;
    mark = TRY(iptables->mark());
    if (mark && place == BackendName::kAuto) place = BackendName::kIptables;
    return mark;
  }
  Result<BackendName> settled() {
    if (place == BackendName::kAuto) (void)TRY(find());
    if (place == BackendName::kAuto) place = nft ? BackendName::kNftables : BackendName::kIptables;
    return place;
  }
  /// What another backend left in the namespace: an attachment that is gone, or this one's from before.
  Result<void> clear_other(BackendName own, const VmTableRules& rules, const std::function<Result<bool>()>& abandoned) {
    VmTableStore* other = own == BackendName::kIptables ? nft.get() : iptables.get();
    if (other == nullptr) return {};
    const std::optional<std::string> mark = TRY(other->mark());
    if (!mark) return {};
    if (*mark != rules.owner.mark() && (!abandoned || !TRY(abandoned())))
      return foreign_vm_table(fmt::format("write the rules of '{}': a table", rules.owner.alias), *mark);
    return other->remove(*mark);
  }
};

VmTable::VmTable(std::unique_ptr<State> state) : state_(std::move(state)) {}
VmTable::VmTable(VmTable&&) noexcept = default;
VmTable& VmTable::operator=(VmTable&&) noexcept = default;
VmTable::~VmTable() = default;

Result<VmTable> VmTable::open(BackendName place, bool legacy) {
  auto state = std::unique_ptr<State>(new State{.place = place, .legacy = legacy});
  Result<std::unique_ptr<VmTableStore>> nft = open_nft_vm_table();
  if (nft)
    state->nft = std::move(*nft);
  else if (nft.error().kind != Kind::kUnsupportedKernel || place == BackendName::kNftables || !legacy)
    return std::unexpected(std::move(nft).error());
  if (legacy || place == BackendName::kIptables) state->iptables = TRY(open_legacy_vm_table());
  return VmTable(std::move(state));
}

Result<std::optional<std::string>> VmTable::mark() { return state_->find(); }

Result<void> VmTable::put(const VmTableRules& rules, const std::function<Result<bool>()>& abandoned) {
  const BackendName place = TRY(state_->settled());
  TRY(state_->clear_other(place, rules, abandoned));
  return state_->at(place).put(rules, abandoned);
}

Result<void> VmTable::check(const VmTableRules& rules, VmTableCheck what) {
  const BackendName place = TRY(state_->settled());
  return state_->at(place).check(rules, what);
}

Result<void> VmTable::remove(const std::string& mark) {
  if (state_->nft) TRY(state_->nft->remove(mark));
  return state_->iptables ? state_->iptables->remove(mark) : Result<void>{};
}

BackendName VmTable::place() const { return state_->place; }

}  // namespace slicer::netfilter
