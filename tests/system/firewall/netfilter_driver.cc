// Calls lib/netfilter from the system tests, in the network namespace it is started in:
//   netfilter_driver ensure|check NETWORK [masquerade=CIDR]… [bridge=NAME] [forward=CIDR]… [admin=CHAIN] [list=NAME]
//     [closed=BRIDGE]
//     a policy: [drop=ENTRY]… [allow=ENTRY]… [default=drop|allow] [log=1] [ingress=open|same-bridge|isolated] or
//     none=1, [segregated=1] a VM: [vm=OWNER@IP[@ENTRY,ENTRY…]]…, the entries being what its own policy drops
//   netfilter_driver remove NETWORK | remove_vms NETWORK OWNER | list NETWORK | probe | foreign | lock MILLISECONDS
// $SLICER_BACKEND is the backend (auto). Prints what went wrong and exits 1; `foreign` prints a line for each foreign
// firewall.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/foreign.h"
#include "lib/netfilter/iptables/table.h"

namespace {

using slicer::Result;
using slicer::netfilter::Backend;
using slicer::netfilter::NetworkRules;

using slicer::netfilter::Ingress;
using slicer::netfilter::Policy;
using slicer::netfilter::PolicyVerdict;

constexpr const char* kBridgeMac = "02:00:00:00:00:01";

std::string_view cut_at(std::string_view& rest, char separator) {
  const size_t at = rest.find(separator);
  const std::string_view part = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return part;
}

Result<slicer::netfilter::VmPolicy> parse_vm(std::string_view text) {
  slicer::netfilter::VmPolicy vm;
  vm.owner = cut_at(text, '@');
  vm.addresses.push_back(TRY(slicer::addr::parse_ip(cut_at(text, '@'))));
  if (text.empty()) return vm;
  Policy own;
  while (!text.empty()) own.drop.push_back(TRY(slicer::netfilter::parse_policy_entry(cut_at(text, ','))));
  vm.own = compile_policy(own);
  return vm;
}

/// Takes what belongs to a policy.
Result<void> parse_policy_word(std::string_view key, std::string_view value, Policy& lists, NetworkRules& rules) {
  const auto rules_of = [&]() -> slicer::netfilter::PolicyRules& {
    if (!rules.policy) rules.policy.emplace();
    return *rules.policy;
  };
  if (key == "drop") lists.drop.push_back(TRY(slicer::netfilter::parse_policy_entry(value)));
  if (key == "allow") lists.allow.push_back(TRY(slicer::netfilter::parse_policy_entry(value)));
  if (key == "default") lists.fallback = value == "drop" ? PolicyVerdict::kDrop : PolicyVerdict::kAllow;
  if (key == "log") rules_of().log = true;
  if (key == "ingress") rules_of().ingress = value == "isolated" ? Ingress::kIsolated : Ingress::kSameBridge;
  if (key == "segregated") rules_of().segregated = true;
  if (key == "vm") rules_of().vms.push_back(TRY(parse_vm(value)));
  if (key == "drop" || key == "allow" || key == "default" || key == "none") (void)rules_of();
  return {};
}

Result<NetworkRules> parse_rules(int argc, char** argv) {
  NetworkRules rules{.network = argc > 2 ? argv[2] : ""};
  Policy lists;
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::string_view key = word.substr(0, word.find('='));
    const std::string_view value = word.substr(word.find('=') + 1);
    if ((key == "bridge" || key == "forward") && !rules.forward) rules.forward.emplace();
    if (key == "masquerade") rules.masquerade.push_back(TRY(slicer::addr::parse_cidr(value)));
    if (key == "bridge") rules.forward->bridge = value;
    if (key == "forward") rules.forward->subnets.push_back(TRY(slicer::addr::parse_cidr(value)));
    TRY(parse_policy_word(key, value, lists, rules));
    if (key == "list") rules.listed_bridge = value;
    if (key == "closed") rules.closed_bridge.emplace(std::string(value), TRY(slicer::addr::parse_mac(kBridgeMac)));
    if (key == "admin") rules.forward->admin_chain = value;
  }
  if (rules.policy) rules.policy->lists = compile_policy(lists);
  return rules;
}

Result<void> print_foreign() {
  for (const auto& found : TRY(slicer::netfilter::find_foreign_firewalls())) {
    std::string opened;
    for (const std::string& mark : found.opened) opened += " " + mark;
    std::printf("%s %s %s %s opening=%s opened:%s\n", found.program.c_str(), found.family.c_str(), found.table.c_str(),
                found.chain.c_str(), found.opening_chain.c_str(), opened.c_str());
  }
  return {};
}

void print_policy(const std::string& id, const slicer::netfilter::PolicyInForce& policy) {
  std::printf("policy %s passed=%llu dropped=%llu%s default=%s\n", id.c_str(),
              static_cast<unsigned long long>(policy.passed), static_cast<unsigned long long>(policy.dropped),
              policy.log ? " log" : "", policy.policy.fallback == PolicyVerdict::kAllow ? "allow" : "drop");
  const auto print = [](const slicer::netfilter::PolicyEntry& entry, PolicyVerdict verdict) {
    std::printf("  %s %s\n", verdict == PolicyVerdict::kAllow ? "allow" : "drop", policy_entry_text(entry).c_str());
  };
  for (const auto& one : policy.policy.ports) print({.addresses = one.addresses, .ports = one.ports}, one.verdict);
  for (const auto& one : policy.policy.addresses) print({.addresses = one.addresses}, one.verdict);
}

Result<void> print_list(Backend& backend, const std::string& network) {
  const slicer::netfilter::PoliciesInForce found = TRY(backend.list_policies(network));
  std::printf("lists %s\n", found.lists.value_or("none").c_str());
  for (const auto& vm : found.vms)
    std::printf("vm %s %s %s\n", vm.owner.c_str(), vm.address.text().c_str(), vm.policy.c_str());
  for (const auto& [id, policy] : found.policies) print_policy(id, policy);
  return {};
}

Result<void> try_lock(const char* milliseconds) {
  (void)TRY(slicer::netfilter::take_xtables_lock(std::chrono::milliseconds(std::atoi(milliseconds))));
  return {};
}

/// $SLICER_BACKEND, or "auto".
std::string_view backend_name() {
  const char* name = std::getenv("SLICER_BACKEND");
  return name == nullptr ? "auto" : name;
}

Result<void> run(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  const std::unique_ptr<Backend> backend = TRY(slicer::netfilter::make_backend(backend_name()));
  const NetworkRules rules = TRY(parse_rules(argc, argv));
  if (verb == "ensure") return backend->ensure(rules);
  if (verb == "check") return backend->check(rules);
  if (verb == "remove") return backend->remove(rules.network);
  if (verb == "remove_vms")
    return backend->remove_vms(rules.network, [&](const std::string& mark) { return argc > 3 && mark == argv[3]; });
  if (verb == "list") return print_list(*backend, rules.network);
  if (verb == "probe") return backend->probe();
  if (verb == "foreign") return print_foreign();
  if (verb == "lock") return try_lock(argc > 2 ? argv[2] : "0");
  return slicer::fail(slicer::Kind::kInvalidConfig, "usage: ensure|check|remove|probe|foreign");
}

}  // namespace

int main(int argc, char** argv) {
  const Result<void> done = run(argc, argv);
  if (done) return 0;
  std::fprintf(stderr, "%s (%s)\n", done.error().message.c_str(), done.error().hint.c_str());
  return 1;
}
