#include "lib/netfilter/nftables.h"

namespace slicer::netfilter {
namespace {

class Nftables final : public Backend {
 public:
  Result<void> ensure(const NetworkRules& rules) override {
    (void)rules;
    return fail(Kind::kUnsupportedKernel, "write nftables rules: not implemented yet");
  }
  Result<void> check(const NetworkRules& rules) override { return ensure(rules); }
  Result<void> remove(const std::string& network) override { return ensure({.network = network}); }
  Result<void> probe() override { return ensure({}); }
};

}  // namespace

std::unique_ptr<Backend> make_nftables_backend() { return std::make_unique<Nftables>(); }

}  // namespace slicer::netfilter
