#include "plugins/macvtap/config.h"

#include <fmt/core.h>

#include <array>
#include <utility>

#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/cni/guard_keys.h"

namespace slicer::macvtap {
namespace {

using cni::Json;
using net::MacvlanMode;

// include/uapi/linux/if_ether.h: ETH_MIN_MTU and ETH_MAX_MTU.
constexpr int64_t kMtuMin = 68;
constexpr int64_t kMtuMax = 65535;

Result<std::string> parse_parent(const Json& conf) {
  std::string name = TRY(cni::string_field(conf, "parent"));
  if (name.empty() || cni::check_ifname(name)) return name;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"parent\": '{}' cannot name a link: 1 to 15 bytes without '/', ':' and white space", name),
              "name an interface of the LAN, or leave the key out for that of the default route");
}

Result<MacvlanMode> parse_mode(const Json& conf) {
  constexpr std::array<std::pair<const char*, MacvlanMode>, 4> kModes{{{"bridge", MacvlanMode::kBridge},
                                                                       {"vepa", MacvlanMode::kVepa},
                                                                       {"private", MacvlanMode::kPrivate},
                                                                       {"passthru", MacvlanMode::kPassthru}}};
  const std::string text = TRY(cni::string_field(conf, "mode"));
  if (text.empty()) return MacvlanMode::kBridge;
  for (const auto& [name, mode] : kModes)
    if (text == name) return mode;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"mode\": '{}' is none of 'bridge', 'vepa', 'private' and 'passthru'", text),
              "leave the key out for 'bridge'");
}

Result<unsigned> parse_mtu(const Json& conf) {
  const int64_t mtu = TRY(cni::int_field(conf, "mtu", 0));
  if (mtu == 0 || (mtu >= kMtuMin && mtu <= kMtuMax)) return static_cast<unsigned>(mtu);
  return fail(Kind::kInvalidConfig, fmt::format("\"mtu\": {} is neither 0 nor in {}-{}", mtu, kMtuMin, kMtuMax),
              "use 0 or leave the key out for the parent's MTU");
}

/// The call's word before the configuration's, which only a network of one VM can have.
Result<std::optional<addr::Mac>> parse_mac(const cni::NetConf& conf, const cni::Environment& env) {
  const std::string text = TRY(cni::string_field(conf.raw, "mac"));
  std::optional<addr::Mac> configured;
  if (!text.empty()) configured = TRY(addr::parse_mac(text).context("\"mac\""));
  const std::optional<addr::Mac> requested = TRY(cni::requested_mac(conf, env));
  return requested ? requested : configured;
}

Result<void> parse_guards(const Json& conf, Config& config) {
  const cni::GuardKeys guards = TRY(cni::parse_guard_keys(conf, true));
  config.guard_mac = guards.mac;
  config.guard_ip = guards.ip;
  return {};
}

/// Keys without a type would be no addresses at all: the LAN's DHCP server's.
Result<void> check_ipam(const Json& conf) {
  const Json ipam = TRY(cni::object_field(conf, "ipam"));
  if (ipam.empty() || !TRY(cni::string_field(ipam, "type").context("\"ipam\"")).empty()) return {};
  return fail(Kind::kInvalidConfig, "\"ipam\": \"type\" is missing",
              "add \"type\": \"slicer-ipam\", or leave \"ipam\" out for addresses of the LAN's DHCP server");
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env) {
  const Json& raw = conf.raw;
  Config config;
  config.parent = TRY(parse_parent(raw));
  config.mode = TRY(parse_mode(raw));
  config.mtu_bytes = TRY(parse_mtu(raw));
  config.probe = TRY(cni::bool_field(raw, "probe", true));
  config.dns = TRY(cni::guest_dns_field(raw));
  config.bandwidth = TRY(cni::bandwidth_fields(conf));
  config.mac = TRY(parse_mac(conf, env));
  TRY(parse_guards(raw, config));
  TRY(check_ipam(raw));
  return config;
}

}  // namespace slicer::macvtap
