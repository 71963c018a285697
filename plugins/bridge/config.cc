#include "plugins/bridge/config.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/cni/guard_keys.h"
#include "lib/netfilter/backend.h"

namespace slicer::bridge {
namespace {

using cni::Json;

// include/uapi/linux/if_ether.h: ETH_MIN_MTU and ETH_MAX_MTU.
constexpr int64_t kMtuMin = 68;
constexpr int64_t kMtuMax = 65535;
// IEEE 802.1Q: 0 is no VLAN, 4095 is reserved.
constexpr int64_t kVlanMax = 4094;

Result<std::string> parse_bridge_name(const Json& conf) {
  std::string name = TRY(cni::string_field(conf, "bridge", "cni0"));
  if (name.empty()) return "cni0";
  const Result<void> valid = cni::check_ifname(name);
  // Isolated networks' rules know their VMs by that beginning: they would close this bridge's VMs as they do those.
  if (name.starts_with(netfilter::kIsolatedLinks))
    return fail(Kind::kInvalidConfig,
                fmt::format("\"bridge\": '{}' begins as the links of isolated VMs do, with '{}'", name,
                            netfilter::kIsolatedLinks),
                "choose another name in \"bridge\"");
  if (valid) return name;
  return fail(
      Kind::kInvalidConfig,
      fmt::format("\"bridge\": '{}' cannot name a link: 1 to 15 bytes without '/', ':' and white space, and not "
                  "'all' or 'default'",
                  name),
      "choose a shorter or plainer name in \"bridge\"");
}

/// A chain that says "bridge" means upstream's plugin, in whose place ours is installed (faasd writes its conflist anew
/// at every start): it wants a container's interface.
Result<Device> parse_device(const cni::NetConf& conf) {
  const std::string device = TRY(cni::string_field(conf.raw, "device", conf.type == "bridge" ? "veth" : "tap"));
  if (device == "tap") return Device::kTap;
  if (device == "veth") return Device::kVeth;
  return fail(Kind::kInvalidConfig, fmt::format("\"device\": '{}' is neither 'tap' nor 'veth'", device),
              "use 'tap' for a VM, 'veth' for a container");
}

Result<unsigned> parse_mtu(const Json& conf) {
  const int64_t mtu = TRY(cni::int_field(conf, "mtu", 0));
  if (mtu == 0 || (mtu >= kMtuMin && mtu <= kMtuMax)) return static_cast<unsigned>(mtu);
  return fail(Kind::kInvalidConfig, fmt::format("\"mtu\": {} is neither 0 nor in {}-{}", mtu, kMtuMin, kMtuMax),
              "use 0 or leave the key out for the bridge's own MTU");
}

/// Which names are valid, and which of them work here, is the netfilter library's to know.
Result<std::string> parse_masq_backend(const Json& conf) {
  std::string backend = TRY(cni::string_field(conf, "ipMasqBackend"));
  (void)TRY(netfilter::make_backend_for("ipMasqBackend", backend));
  return backend;
}

Result<uint16_t> parse_vlan(const Json& conf) {
  const int64_t id = TRY(cni::int_field(conf, "vlan", 0));
  if (id >= 0 && id <= kVlanMax) return static_cast<uint16_t>(id);
  return fail(Kind::kInvalidConfig, fmt::format("\"vlan\": {} is not in 0-{}", id, kVlanMax),
              "use 0 or leave the key out for untagged traffic");
}

/// One of an entry's ids; absent is no error.
Result<std::optional<uint16_t>> parse_trunk_id(const Json& entry, const char* key) {
  const std::optional<int64_t> id = TRY(cni::optional_int_field(entry, key));
  if (!id) return std::optional<uint16_t>{};
  if (*id >= 1 && *id <= kVlanMax) return std::optional(static_cast<uint16_t>(*id));
  return fail(Kind::kInvalidConfig, fmt::format("\"vlanTrunk\": \"{}\": {} is not in 1-{}", key, *id, kVlanMax));
}

/// {"id": N}, {"minID": N, "maxID": M}, or both in one entry, as upstream takes them.
Result<void> parse_trunk_entry(const Json& entry, std::vector<VlanRange>& ranges) {
  if (!entry.is_object())
    return fail(Kind::kInvalidConfig, "\"vlanTrunk\": expected objects, got " + cni::dump_json(entry),
                "write [{\"id\": 10}, {\"minID\": 20, \"maxID\": 29}]");
  const auto first = TRY(parse_trunk_id(entry, "minID"));
  const auto last = TRY(parse_trunk_id(entry, "maxID"));
  const auto single = TRY(parse_trunk_id(entry, "id"));
  if (first.has_value() != last.has_value())
    return fail(Kind::kInvalidConfig, "\"vlanTrunk\": \"minID\" and \"maxID\" only go together");
  if (first && *first > *last)
    return fail(Kind::kInvalidConfig, fmt::format("\"vlanTrunk\": \"minID\" {} is above \"maxID\" {}", *first, *last));
  if (!first && !single)
    return fail(Kind::kInvalidConfig, "\"vlanTrunk\": " + cni::dump_json(entry) + " names no VLAN",
                "write [{\"id\": 10}, {\"minID\": 20, \"maxID\": 29}]");
  if (first) ranges.push_back({*first, *last});
  if (single) ranges.push_back({*single, *single});
  return {};
}

Result<std::vector<VlanRange>> parse_trunk(const Json& conf) {
  std::vector<VlanRange> ranges;
  for (const Json& entry : TRY(cni::array_field(conf, "vlanTrunk"))) TRY(parse_trunk_entry(entry, ranges));
  std::sort(ranges.begin(), ranges.end(), [](VlanRange a, VlanRange b) { return a.first < b.first; });
  std::vector<VlanRange> merged;
  for (const VlanRange& range : ranges) {
    if (!merged.empty() && range.first <= merged.back().last)
      merged.back().last = std::max(merged.back().last, range.last);
    else
      merged.push_back(range);
  }
  return merged;
}

/// Upstream checks only on demand; a VM is checked unless told otherwise, a container as upstream does it.
Result<void> parse_guards(const Json& conf, Config& config) {
  const cni::GuardKeys guards = TRY(cni::parse_guard_keys(conf, config.device == Device::kTap));
  config.guard_mac = guards.mac;
  config.guard_ip = guards.ip;
  if (config.trunk.empty()) return {};
  // A trunk's frames are tagged, and the guest chooses the tags: the filter, which wants untagged frames, cannot be.
  if (cni::find_key(conf, "macspoofchk") == nullptr && !TRY(cni::optional_bool_field(conf, "ipspoofchk"))) {
    config.guard_mac = config.guard_ip = false;
    return {};
  }
  if (config.guard_mac)
    return fail(Kind::kInvalidConfig, "\"macspoofchk\": true cannot be kept on a \"vlanTrunk\" port",
                "a trunk's frames carry tags that the filter does not look behind; leave one of the two keys out");
  return {};
}

Result<void> check_combinations(const cni::NetConf& conf, const Config& config) {
  if (config.hairpin && config.promiscuous)
    return fail(Kind::kInvalidConfig, "\"hairpinMode\" and \"promiscMode\" cannot both be true",
                "hairpinMode is enough for a guest to reach itself by a published address");
  const std::string vlan_link = fmt::format("{}.{}", config.bridge, config.vlan);
  if (config.vlan != 0 && config.is_gateway && !cni::check_ifname(vlan_link))
    return fail(Kind::kInvalidConfig,
                fmt::format("\"bridge\": '{}' is too long for the VLAN's gateway '{}', which has at most 15 bytes",
                            config.bridge, vlan_link),
                "choose a shorter name in \"bridge\"");
  if (!config.disable_container_interface) return {};
  if (config.device == Device::kTap)
    return fail(Kind::kInvalidConfig, "\"disableContainerInterface\": true needs \"device\": \"veth\"",
                "a TAP has no interface in the guest that could be kept down");
  if (!conf.ipam_type.empty())
    return fail(Kind::kInvalidConfig, "\"disableContainerInterface\": true cannot be used with \"ipam\"",
                "an interface that is down takes no routes; leave \"ipam\" out");
  return {};
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf, const cni::Environment& env) {
  const Json& raw = conf.raw;
  Config config;
  config.bridge = TRY(parse_bridge_name(raw));
  config.device = TRY(parse_device(conf));
  config.default_gateway = TRY(cni::bool_field(raw, "isDefaultGateway", false));
  config.is_gateway = TRY(cni::bool_field(raw, "isGateway", false)) || config.default_gateway;
  config.force_address = TRY(cni::bool_field(raw, "forceAddress", false));
  config.ip_masq = TRY(cni::bool_field(raw, "ipMasq", false));
  config.masq_backend = TRY(parse_masq_backend(raw));
  config.mtu_bytes = TRY(parse_mtu(raw));
  config.hairpin = TRY(cni::bool_field(raw, "hairpinMode", false));
  config.promiscuous = TRY(cni::bool_field(raw, "promiscMode", false));
  config.port_isolation = TRY(cni::bool_field(raw, "portIsolation", false));
  config.detect_duplicates = TRY(cni::bool_field(raw, "enabledad", false));
  config.disable_container_interface = TRY(cni::bool_field(raw, "disableContainerInterface", false));
  config.vlan = TRY(parse_vlan(raw));
  config.trunk = TRY(parse_trunk(raw));
  config.preserve_default_vlan = TRY(cni::optional_bool_field(raw, "preserveDefaultVlan"));
  config.dns = TRY(cni::guest_dns_field(raw));
  config.bandwidth = TRY(cni::bandwidth_fields(conf));
  config.mac = TRY(cni::requested_mac(conf, env));
  TRY(parse_guards(raw, config));
  config.owner = TRY(cni::parse_tap_owner(raw, env));
  TRY(check_combinations(conf, config));
  return config;
}

}  // namespace slicer::bridge
