#include "plugins/firewall/config.h"

#include <fmt/format.h>

#include "lib/cni/fields.h"

namespace slicer::firewall {
namespace {

/// A list that nobody enforces is worse than none: its writer relies on it.
Result<void> refuse_policy(const cni::Json& conf) {
  for (const char* key : {"drop", "allow", "default"}) {
    const auto found = conf.find(key);
    if (found == conf.end() || found->is_null()) continue;
    return fail(
        Kind::kUnsupportedField,
        fmt::format("\"{}\": {}: this version of slicer-firewall cannot enforce it", key, cni::dump_json(*found)),
        fmt::format("take \"{}\" out; until it is supported, filter at the network's router", key));
  }
  return {};
}

Result<void> check_ingress_policy(const cni::Json& conf) {
  const std::string policy = TRY(cni::string_field(conf, "ingressPolicy"));
  if (policy.empty() || policy == "open") return {};
  if (policy == "same-bridge" || policy == "isolated") {
    return fail(Kind::kUnsupportedField,
                fmt::format("\"ingressPolicy\": \"{}\": this version of slicer-firewall cannot enforce it", policy),
                "use \"open\" or leave the key out");
  }
  return fail(Kind::kInvalidConfig,
              fmt::format("\"ingressPolicy\": \"{}\" is none of \"open\", \"same-bridge\", \"isolated\"", policy),
              "use \"open\" or leave the key out");
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf) {
  Config config{.network = conf.name};
  config.backend = TRY(cni::string_field(conf.raw, "backend").hint("use \"auto\" or leave the key out"));
  // Keys of upstream's other backends: of the right type, and without meaning for nftables.
  (void)TRY(cni::string_field(conf.raw, "iptablesAdminChainName"));
  (void)TRY(cni::string_field(conf.raw, "firewalldZone"));
  TRY(refuse_policy(conf.raw));
  TRY(check_ingress_policy(conf.raw));
  return config;
}

}  // namespace slicer::firewall
