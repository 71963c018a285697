#include "plugins/isolated/config.h"

#include <fmt/core.h>

#include <utility>

#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "plugins/isolated/range.h"

namespace slicer::isolated {
namespace {

using cni::Json;

// RFC 791: every host takes 576 bytes; what is above is ETH_MAX_MTU of include/uapi/linux/if_ether.h.
constexpr int64_t kMtuMin = 576;
constexpr int64_t kMtuMax = 65535;
constexpr const char* kOwnIpam = "slicer-ipam";

Result<unsigned> parse_mtu(const Json& conf) {
  const int64_t mtu = TRY(cni::int_field(conf, "mtu", 0));
  if (mtu == 0) return kDefaultMtu;
  if (mtu >= kMtuMin && mtu <= kMtuMax) return static_cast<unsigned>(mtu);
  return fail(Kind::kInvalidConfig, fmt::format("\"mtu\": {} is neither 0 nor in {}-{}", mtu, kMtuMin, kMtuMax),
              fmt::format("use 0 or leave the key out for {}", kDefaultMtu));
}

/// Masquerade follows the other rules unless it is said where it goes.
Result<void> parse_backends(const Json& conf, Config& config) {
  config.backend = TRY(netfilter::parse_backend_name("backend", TRY(cni::string_field(conf, "backend"))));
  const std::string masq = TRY(cni::string_field(conf, "ipMasqBackend"));
  config.masq_backend = TRY(netfilter::parse_backend_name("ipMasqBackend", masq));
  if (masq.empty()) config.masq_backend = config.backend;
  return {};
}

/// The keys exist elsewhere; here nobody may count on them being off.
Result<void> refuse_without_guard(const Json& conf) {
  for (const char* key : {"macspoofchk", "ipspoofchk"}) {
    if (TRY(cni::bool_field(conf, key, true))) continue;
    return fail(Kind::kUnsupportedField, fmt::format("\"{}\": false is not possible in an isolated network", key),
                "leave the key out; slicer-bridge has networks without the check");
  }
  return {};
}

Result<std::optional<addr::Cidr>> range_key(const Json& json, const char* key) {
  const std::string text = TRY(cni::string_field(json, key));
  if (text.empty()) return std::optional<addr::Cidr>{};
  return std::optional(TRY(parse_block_range(text).context(fmt::format("\"{}\"", key))));
}

bool is_set(const Json& json, const char* key) {
  const Json* found = cni::find_key(json, key);
  return found != nullptr && !found->is_null() && *found != "" && *found != Json::array();
}

/// Ours: everything but which addresses is the section's own business.
Result<void> parse_own_ipam(Config& config) {
  const int64_t block = TRY(cni::int_field(config.ipam, "block", 30).context("\"ipam\""));
  if (block != 30)
    return fail(Kind::kInvalidConfig, fmt::format("\"ipam\": \"block\": {} is not 30", block),
                "leave the key out: an isolated VM has a /30 block of its own");
  for (const char* key : {"ranges", "range", "addresses", "gateway", "rangeStart", "rangeEnd"}) {
    if (is_set(config.ipam, key))
      return fail(Kind::kInvalidConfig, fmt::format("\"ipam\": \"{}\" cannot be used in an isolated network", key),
                  "name the blocks by \"range\", beside \"type\"");
  }
  const std::optional<addr::Cidr> subnet = TRY(range_key(config.ipam, "subnet").context("\"ipam\""));
  if (subnet && config.range)
    return fail(Kind::kInvalidConfig, "\"range\" and \"ipam\": \"subnet\": two ways to say which blocks",
                "leave \"subnet\" out");
  if (subnet) config.range = subnet;
  config.ipam["type"] = kOwnIpam;
  config.ipam["block"] = 30;
  return {};
}

Result<void> parse_ipam(const Json& conf, Config& config) {
  config.ipam = TRY(cni::object_field(conf, "ipam"));
  const std::string type = TRY(cni::string_field(config.ipam, "type").context("\"ipam\""));
  config.own_ipam = type.empty() || type == kOwnIpam;
  if (config.own_ipam) return parse_own_ipam(config);
  if (config.range)
    return fail(Kind::kInvalidConfig, fmt::format("\"range\" cannot be used with the IPAM plugin '{}'", type),
                "leave out \"range\" or \"ipam\"");
  return {};
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env) {
  const Json& raw = conf.raw;
  Config config;
  config.range = TRY(range_key(raw, "range"));
  config.mtu_bytes = TRY(parse_mtu(raw));
  config.ip_masq = TRY(cni::bool_field(raw, "ipMasq", true));
  TRY(parse_backends(raw, config));
  config.dns = TRY(cni::guest_dns_field(raw));
  config.bandwidth = TRY(cni::bandwidth_fields(conf));
  config.mac = TRY(cni::requested_mac(conf, env));
  TRY(refuse_without_guard(raw));
  config.owner = TRY(cni::parse_tap_owner(raw, env));
  TRY(parse_ipam(raw, config));
  return config;
}

Config cleanup_config(const cni::NetConf& conf) {
  Config config;
  if (const Result<Json> ipam = cni::object_field(conf.raw, "ipam"); ipam) config.ipam = *ipam;
  const Result<std::string> type = cni::string_field(config.ipam, "type");
  config.own_ipam = !type || type->empty() || *type == kOwnIpam;
  if (!config.own_ipam) return config;
  if (!cni::string_field(config.ipam, "dataDir")) config.ipam.erase("dataDir");
  config.ipam["type"] = kOwnIpam;
  config.ipam["block"] = 30;
  return config;
}

}  // namespace slicer::isolated
