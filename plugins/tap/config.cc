#include "plugins/tap/config.h"

#include <fmt/core.h>

#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/cni/guard_keys.h"
#include "lib/net/tap_label.h"

namespace slicer::tap {
namespace {

using cni::Json;

// include/uapi/linux/if_ether.h: ETH_MIN_MTU and ETH_MAX_MTU.
constexpr int64_t kMtuMin = 68;
constexpr int64_t kMtuMax = 65535;

Result<unsigned> parse_mtu(const Json& conf) {
  const int64_t mtu = TRY(cni::int_field(conf, "mtu", 0));
  if (mtu == 0 || (mtu >= kMtuMin && mtu <= kMtuMax)) return static_cast<unsigned>(mtu);
  return fail(Kind::kInvalidConfig, fmt::format("\"mtu\": {} is neither 0 nor in {}-{}", mtu, kMtuMin, kMtuMax),
              "use 0 or leave the key out for the MTU of the interface that the TAP stands for");
}

Result<std::string> parse_bridge(const Json& conf) {
  std::string name = TRY(cni::string_field(conf, "bridge"));
  if (name.empty() || cni::check_ifname(name)) return name;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"bridge\": '{}' cannot name a link: 1 to 15 bytes without '/', ':' and white space", name),
              "name a bridge of the VM's namespace, or leave the key out");
}

Result<std::string> parse_label(const Json& conf) {
  std::string label = TRY(cni::string_field(conf, "selinuxContext"));
  if (label.empty()) return label;
  TRY(net::check_label_shape(label)
          .context("\"selinuxContext\"")
          .hint("write it like system_u:system_r:container_t:s0, or leave the key out for the caller's"));
  return label;
}

Result<std::optional<addr::Mac>> parse_mac_key(const Json& conf) {
  const std::string text = TRY(cni::string_field(conf, "mac"));
  if (text.empty()) return std::optional<addr::Mac>{};
  return std::optional(TRY(addr::parse_mac(text).context("\"mac\"")));
}

Result<std::string> parse_tap_name(const cni::Environment& env) {
  const std::optional<std::string> name = env.arg("TC_REDIRECT_TAP_NAME");
  if (!name || name->empty()) return "";
  TRY(cni::check_ifname(*name).context("CNI_ARGS TC_REDIRECT_TAP_NAME"));
  return *name;
}

/// Neither tc-redirect-tap nor upstream's tap checks what a guest sends; who wants that says so.
Result<void> parse_guards(const Json& conf, Config& config) {
  const cni::GuardKeys guards = TRY(cni::parse_guard_keys(conf, false));
  config.guard_mac = guards.mac;
  config.guard_ip = guards.ip;
  return {};
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env) {
  const Json& raw = conf.raw;
  Config config;
  config.tap_name = TRY(parse_tap_name(env));
  config.mtu_bytes = TRY(parse_mtu(raw));
  config.multi_queue = TRY(cni::bool_field(raw, "multiQueue", false));
  config.bridge = TRY(parse_bridge(raw));
  config.selinux_label = TRY(parse_label(raw));
  config.mac = TRY(parse_mac_key(raw));
  config.asked = TRY(cni::requested_mac(conf, env));
  if (config.asked) config.mac = config.asked;
  config.dns = TRY(cni::guest_dns_field(raw));
  config.bandwidth = TRY(cni::bandwidth_fields(conf));
  config.owner = TRY(cni::parse_tap_owner(raw, env));
  TRY(parse_guards(raw, config));
  return config;
}

Result<void> refuse_plain_keys(const Config& config, const cni::NetConf& conf) {
  const auto refuse = [](const char* key, const char* hint) {
    return fail(
        Kind::kUnsupportedField,
        fmt::format("\"{}\" is for a TAP that is first in its chain, not behind another plugin's interface", key),
        hint);
  };
  if (!config.bridge.empty()) return refuse("bridge", "leave it out: the TAP passes everything on to that interface");
  if (!conf.ipam_type.empty()) return refuse("ipam", "leave it out: the VM gets the addresses of that interface");
  if (TRY(parse_mac_key(conf.raw))) return refuse("mac", "leave it out: the VM has the MAC of that interface");
  return {};
}

}  // namespace slicer::tap
