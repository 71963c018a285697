#include "plugins/isolated/config.h"

#include <fmt/core.h>

#include <charconv>
#include <utility>

#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/netfilter/backend.h"
#include "plugins/isolated/range.h"

namespace slicer::isolated {
namespace {

using cni::Json;

// RFC 791: every host takes 576 bytes; what is above is ETH_MAX_MTU of include/uapi/linux/if_ether.h.
constexpr int64_t kMtuMin = 576;
constexpr int64_t kMtuMax = 65535;
// uid_t's last value means "no user" to the kernel.
constexpr int64_t kIdMax = 4294967294;
constexpr const char* kOwnIpam = "slicer-ipam";

Result<unsigned> parse_mtu(const Json& conf) {
  const int64_t mtu = TRY(cni::int_field(conf, "mtu", 0));
  if (mtu == 0) return kDefaultMtu;
  if (mtu >= kMtuMin && mtu <= kMtuMax) return static_cast<unsigned>(mtu);
  return fail(Kind::kInvalidConfig, fmt::format("\"mtu\": {} is neither 0 nor in {}-{}", mtu, kMtuMin, kMtuMax),
              fmt::format("use 0 or leave the key out for {}", kDefaultMtu));
}

/// Which names are valid, and which of them work here, is the netfilter library's to know.
Result<std::string> parse_masq_backend(const Json& conf) {
  std::string backend = TRY(cni::string_field(conf, "ipMasqBackend"));
  (void)TRY(netfilter::make_backend_for("ipMasqBackend", backend));
  return backend;
}

/// A uid or gid out of CNI_ARGS.
Result<std::optional<uint32_t>> id_argument(const cni::Environment& env, const char* key) {
  const std::optional<std::string> text = env.arg(key);
  if (!text) return std::optional<uint32_t>{};
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), id);
  if (error == std::errc() && end == text->data() + text->size() && id <= kIdMax) return std::optional(id);
  return fail(Kind::kInvalidEnvironment, fmt::format("CNI_ARGS {}: '{}' is not in 0-{}", key, *text, kIdMax),
              "pass a numeric user or group id");
}

/// Who may open the TAP: the call's word before the configuration's.
Result<void> parse_owner(const Json& conf, const cni::Environment& env, Config& config) {
  const cni::Bounds ids{.low = 0, .high = kIdMax};
  config.owner = static_cast<uint32_t>(TRY(cni::int_field(conf, "owner", 0, ids)));
  if (const auto group = TRY(cni::optional_int_field(conf, "group", ids)))
    config.owner_group = static_cast<uint32_t>(*group);
  if (const auto uid = TRY(id_argument(env, "TC_REDIRECT_TAP_UID"))) config.owner = *uid;
  if (const auto gid = TRY(id_argument(env, "TC_REDIRECT_TAP_GID"))) config.owner_group = gid;
  return {};
}

/// The keys exist elsewhere; here nobody may count on them being off.
Result<void> refuse_without_guard(const Json& conf) {
  for (const char* key : {"macspoofchk", "ipspoofchk"}) {
    if (TRY(cni::bool_field(conf, key, true))) continue;
    return fail(Kind::kInvalidConfig, fmt::format("\"{}\": false is not possible in an isolated network", key),
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
  const auto found = json.find(key);
  return found != json.end() && !found->is_null() && *found != "" && *found != Json::array();
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
  config.masq_backend = TRY(parse_masq_backend(raw));
  config.dns = TRY(cni::parse_dns(TRY(cni::object_field(raw, "dns"))));
  config.mac = TRY(cni::requested_mac(conf, env));
  TRY(refuse_without_guard(raw));
  TRY(parse_owner(raw, env, config));
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
