// Calls lib/netfilter from the system tests, in the network namespace it is started in:
//   netfilter_driver ensure|check NETWORK [masquerade=CIDR]… [bridge=NAME] [forward=CIDR]… [list=NAME]
//   netfilter_driver remove NETWORK | probe | foreign
// Prints what went wrong and exits 1; `foreign` prints a line for each foreign firewall.

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "lib/netfilter/backend.h"
#include "lib/netfilter/foreign.h"

namespace {

using slicer::Result;
using slicer::netfilter::Backend;
using slicer::netfilter::NetworkRules;

Result<NetworkRules> parse_rules(int argc, char** argv) {
  NetworkRules rules{.network = argc > 2 ? argv[2] : ""};
  for (int i = 3; i < argc; ++i) {
    const std::string_view word = argv[i];
    const std::string_view key = word.substr(0, word.find('='));
    const std::string_view value = word.substr(word.find('=') + 1);
    if ((key == "bridge" || key == "forward") && !rules.forward) rules.forward.emplace();
    if (key == "masquerade") rules.masquerade.push_back(TRY(slicer::addr::parse_cidr(value)));
    if (key == "bridge") rules.forward->bridge = value;
    if (key == "forward") rules.forward->subnets.push_back(TRY(slicer::addr::parse_cidr(value)));
    if (key == "list") rules.listed_bridge = value;
  }
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

Result<void> run(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  const std::unique_ptr<Backend> backend = TRY(slicer::netfilter::make_backend("auto"));
  const NetworkRules rules = TRY(parse_rules(argc, argv));
  if (verb == "ensure") return backend->ensure(rules);
  if (verb == "check") return backend->check(rules);
  if (verb == "remove") return backend->remove(rules.network);
  if (verb == "probe") return backend->probe();
  if (verb == "foreign") return print_foreign();
  return slicer::fail(slicer::Kind::kInvalidConfig, "usage: ensure|check|remove|probe|foreign");
}

}  // namespace

int main(int argc, char** argv) {
  const Result<void> done = run(argc, argv);
  if (done) return 0;
  std::fprintf(stderr, "%s (%s)\n", done.error().message.c_str(), done.error().hint.c_str());
  return 1;
}
