#include "lib/netfilter/choice.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "lib/base/log.h"
#include "lib/netfilter/iptables/backend.h"
#include "lib/netfilter/iptables/foreign.h"
#include "lib/netfilter/iptables/isolation.h"
#include "lib/netfilter/nftables/backend.h"
#include "lib/netfilter/nftables/isolation.h"
#include "lib/netfilter/nftables/traces.h"

namespace slicer::netfilter {
namespace {

class Chosen final : public Backend {
 public:
  Chosen(BackendName name, std::optional<bool> legacy_tables)
      : name_(name), legacy_(legacy_tables ? *legacy_tables : legacy_tables_exist()) {}

  // What an earlier "backend" left goes when its successor stands: nothing is open meanwhile.
  Result<void> ensure_watched(const NetworkRules& rules, LossWatch* watch) override {
    const bool legacy = TRY(is_in_iptables(rules.network));
    const Result<NetworkParts> found = find_left(rules, legacy);
    const NetworkParts left = found.value_or(NetworkParts{});
    if (left.policy) {
      NetworkRules whole = rules;
      TRY(take_vms_along(whole, legacy ? *nftables_ : *iptables_));
      TRY(legacy ? ensure_in_iptables(whole, watch) : ensure_in_nftables(whole, watch));
    } else {
      TRY(legacy ? ensure_in_iptables(rules, watch) : ensure_in_nftables(rules, watch));
    }
    if (!found) return std::unexpected(found.error());  // what stands is right, but something may be left
    return leave(rules.network, left, legacy);
  }

  Result<void> check(const NetworkRules& rules) override {
    if (!TRY(is_in_iptables(rules.network))) {
      TRY(nftables_->check(rules));
      if (!rules.forward || !legacy_) return {};
      return where_libiptc_is(check_legacy_opening(rules.network, *rules.forward));
    }
    TRY(iptables_->check(rules));
    return in_nftables_too(rules, &Backend::check);
  }

  Result<void> remove(const std::string& network) override {
    return from_both([&](Backend& backend) { return backend.remove(network); });
  }

  Result<void> remove_vms(const std::string& network, const VmFilter& gone) override {
    return from_both([&](Backend& backend) { return backend.remove_vms(network, gone); });
  }

  Result<PoliciesInForce> list_policies(const std::string& network) override {
    Backend& backend = TRY(is_in_iptables(network)) ? *iptables_ : *nftables_;
    return backend.list_policies(network);
  }

  Result<BackendName> place(const std::string& network) {
    return TRY(is_in_iptables(network)) ? BackendName::kIptables : BackendName::kNftables;
  }

  Result<void> probe() override {
    if (name_ == BackendName::kIptables) return iptables_->probe();
    Result<void> own = nftables_->probe();
    if (own || name_ != BackendName::kAuto || !legacy_) return own;
    // As an ADD would choose.
    const Result<std::vector<std::string>> others = legacy_tables_of_others();
    return others && !others->empty() ? iptables_->probe() : std::move(own);
  }

 private:
  Result<void> ensure_in_nftables(const NetworkRules& rules, LossWatch* watch) {
    TRY(nftables_->ensure_watched(rules, watch));
    if (!legacy_) return {};
    TRY(where_libiptc_is(list_in_legacy(listed(rules))));
    if (!rules.forward) return {};
    return where_libiptc_is(ensure_legacy_opening(rules.network, *rules.forward));
  }

  Result<void> ensure_in_iptables(const NetworkRules& rules, LossWatch* watch) {
    legacy_ = true;  // from here on there may be something to remove
    TRY(iptables_->ensure_watched(rules, watch));
    if (rules.policy && rules.policy->ingress != Ingress::kOpen) TRY(list_in_legacy(TRY(nft_listed_bridges())));
    return in_nftables_too(rules, &Backend::ensure);
  }

  /// What of these rules' kind stands in the backend that is not theirs. With kAuto a network stays where it is.
  Result<NetworkParts> find_left(const NetworkRules& rules, bool legacy) {
    if (name_ == BackendName::kAuto || (!legacy && !legacy_)) return NetworkParts{};
    Result<NetworkParts> parts =
        legacy ? parts_in_nftables(rules.network) : where_libiptc_is(parts_in_legacy(rules.network));
    if (!parts && legacy && parts.error().kind == Kind::kUnsupportedKernel) return NetworkParts{};
    if (!parts) return parts;
    parts->masquerade = parts->masquerade && masquerades(rules);
    parts->policy = parts->policy && rules.policy.has_value();
    parts->forward = parts->forward && rules.forward.has_value();
    parts->within = parts->within && (rules.closed_bridge || (rules.forward && rules.forward->bridge.empty()));
    parts->segregation = parts->segregation && rules.policy && rules.policy->segregated;
    return parts;
  }

  /// VMs with a policy of their own, other than those of the call, keep it.
  static Result<void> take_vms_along(NetworkRules& rules, Backend& from) {
    const PoliciesInForce standing = TRY(from.list_policies(rules.network));
    for (const VmInForce& vm : standing.vms) {
      const auto known = [&](const VmPolicy& one) { return vm_mark(one.owner) == vm.owner; };
      const auto policy = standing.policies.find(vm.policy);
      if (policy == standing.policies.end()) continue;
      auto there = std::ranges::find_if(rules.policy->vms, known);
      // One of the call has its addresses and its policy by the call.
      if (there != rules.policy->vms.end() && (!there->own || *there->own != policy->second.policy)) continue;
      if (there == rules.policy->vms.end())
        there = rules.policy->vms.insert(there, {.owner = vm.owner, .own = policy->second.policy});
      if (std::ranges::find(there->addresses, vm.address) == there->addresses.end())
        there->addresses.push_back(vm.address);
    }
    return {};
  }

  Result<void> leave(const std::string& network, const NetworkParts& left, bool legacy) {
    Backend& other = legacy ? *nftables_ : *iptables_;
    if (left.policy) {
      TRY(other.remove_vms(network, [](const std::string&) { return true; }));
      TRY(other.ensure({.network = network, .policy = PolicyRules{}}));
    }
    if (!left.masquerade && !left.forward && !left.within && !left.segregation) return {};
    return legacy ? remove_nft_parts(network, left) : remove_legacy_parts(network, left);
  }

  Result<bool> is_in_iptables(const std::string& network) {
    if (name_ != BackendName::kAuto) return name_ == BackendName::kIptables;
    if (!legacy_) return false;
    return where_libiptc_is(decide(network));
  }

  /// Without libiptc nothing is known of the legacy tables, and nothing of ours is there: what it would have said is
  /// nothing. Who asks for "iptables" gets the error.
  template <class T>
  Result<T> where_libiptc_is(Result<T> answer) const {
    if (answer || answer.error().kind != Kind::kUnsupportedKernel || name_ == BackendName::kIptables) return answer;
    log_line(answer.error().message + ", ignoring the legacy tables");
    if constexpr (std::is_void_v<T>)
      return {};
    else
      return T{};
  }

  Result<bool> decide(const std::string& network) {
    if (TRY(is_network_in_legacy(network))) return true;
    if (TRY(legacy_tables_of_others()).empty()) return false;
    const Result<bool> standing = is_network_in_nftables(network);
    if (!standing && standing.error().kind == Kind::kUnsupportedKernel) return true;
    if (!standing) return std::unexpected(standing.error());
    return !*standing;
  }

  /// Isolated networks live in nftables: they must know the bridges of both. And a FORWARD of iptables-nft that drops
  /// (old and new iptables side by side) is opened by that backend.
  Result<void> in_nftables_too(const NetworkRules& rules, Result<void> (Backend::*step)(const NetworkRules&)) {
    if (rules.listed_bridge.empty() && !rules.forward) return {};
    Result<void> listed = (nftables_.get()->*step)(
        {.network = rules.network, .forward = rules.forward, .listed_bridge = rules.listed_bridge});
    if (!listed && listed.error().kind == Kind::kUnsupportedKernel) return {};  // nor are there isolated networks
    return listed;
  }

  /// For chains of the legacy tables that name bridges: those of nftables are not theirs otherwise.
  static std::vector<MarkedBridge> listed(const NetworkRules& rules) {
    if (rules.listed_bridge.empty()) return {};
    return {{.name = rules.listed_bridge, .mark = network_mark(rules.network)}};
  }

  /// Both are tried, whatever the first says.
  template <class Step>
  Result<void> from_both(const Step& step) {
    Result<void> legacy;
    if (legacy_) legacy = where_libiptc_is(step(*iptables_));
    Result<void> own = step(*nftables_);
    const bool elsewhere = name_ == BackendName::kIptables || (name_ == BackendName::kAuto && legacy_);
    if (!own && own.error().kind == Kind::kUnsupportedKernel && elsewhere) own = {};
    return own ? std::move(legacy) : std::move(own);
  }

  BackendName name_;
  bool legacy_;
  std::unique_ptr<Backend> nftables_ = make_nftables_backend();
  std::unique_ptr<Backend> iptables_ = make_iptables_backend();
};

}  // namespace

std::unique_ptr<Backend> make_chosen_backend(BackendName name, std::optional<bool> legacy_tables) {
  return std::make_unique<Chosen>(name, legacy_tables);
}

Result<bool> has_network_rules(const std::string& network) {
  Result<bool> own = has_nftables_rules(network);
  if (!own && own.error().kind != Kind::kUnsupportedKernel) return own;
  if (own.value_or(false) || !legacy_tables_exist()) return own.value_or(false);
  Result<bool> legacy = is_network_in_legacy(network);
  if (!legacy && legacy.error().kind == Kind::kUnsupportedKernel) return false;  // no libiptc: nothing of ours there
  return legacy;
}

bool has_legacy_tables() { return legacy_tables_exist(); }

Result<BackendName> place_of_network(BackendName name, const std::string& network, bool legacy_tables) {
  if (name != BackendName::kAuto) return name;
  return Chosen(name, legacy_tables).place(network);
}

}  // namespace slicer::netfilter
