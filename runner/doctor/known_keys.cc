#include "runner/doctor/known_keys.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>

#include "lib/cni/fields.h"

namespace slicer::runner::doctor {
namespace {

using cni::Json;
using Keys = std::span<const std::string_view>;

// Of every plugin (CNI SPEC.md, "Network configuration format", and what libcni puts there).
constexpr std::array<std::string_view, 10> kGeneral = {"cniVersion", "name", "type", "args",         "runtimeConfig",
                                                       "prevResult", "ipam", "dns",  "capabilities", "ipMasq"};
constexpr std::array<std::string_view, 25> kBridge = {"bridge",
                                                      "isGateway",
                                                      "isDefaultGateway",
                                                      "forceAddress",
                                                      "ipMasq",
                                                      "ipMasqBackend",
                                                      "mtu",
                                                      "hairpinMode",
                                                      "promiscMode",
                                                      "macspoofchk",
                                                      "ipspoofchk",
                                                      "portIsolation",
                                                      "enabledad",
                                                      "disableContainerInterface",
                                                      "vlan",
                                                      "vlanTrunk",
                                                      "preserveDefaultVlan",
                                                      "device",
                                                      "owner",
                                                      "group",
                                                      "dns",
                                                      "ingressRate",
                                                      "ingressBurst",
                                                      "egressRate",
                                                      "egressBurst"};
constexpr std::array<std::string_view, 14> kIsolated = {
    "range",       "mtu",        "backend", "ipMasq",      "ipMasqBackend", "owner",      "group",
    "macspoofchk", "ipspoofchk", "dns",     "ingressRate", "ingressBurst",  "egressRate", "egressBurst"};
constexpr std::array<std::string_view, 12> kMacvtap = {"parent",      "mode",         "mtu",        "mac",
                                                       "macspoofchk", "ipspoofchk",   "probe",      "dns",
                                                       "ingressRate", "ingressBurst", "egressRate", "egressBurst"};
constexpr std::array<std::string_view, 14> kTap = {
    "mtu",    "multiQueue",     "owner", "group",       "macspoofchk",  "ipspoofchk", "mac",
    "bridge", "selinuxContext", "dns",   "ingressRate", "ingressBurst", "egressRate", "egressBurst"};
constexpr std::array<std::string_view, 8> kFirewall = {
    "backend", "drop", "allow", "default", "log", "ingressPolicy", "iptablesAdminChainName", "firewalldZone"};
constexpr std::array<std::string_view, 11> kIpam = {"subnet", "rangeStart", "rangeEnd",  "gateway",
                                                    "ranges", "range",      "addresses", "block",
                                                    "routes", "resolvConf", "dataDir"};

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

/// Insertions, deletions and replacements of one letter from `a` to `b` (Levenshtein).
size_t distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

bool resembles(const std::string& key, std::string_view known) {
  const std::string wanted = lower(known);
  return distance(lower(key), wanted) <= (wanted.size() < 6 ? 1U : 2U);
}

void look_through(const Json& object, Keys known, const std::string& path, std::vector<NearMiss>& found) {
  if (!object.is_object()) return;
  const auto is_known = [&](const std::string& key) {
    const auto same = [&](std::string_view one) { return cni::same_key(one, key); };  // the plugin takes it, too
    return std::ranges::any_of(known, same) || std::ranges::any_of(kGeneral, same);
  };
  for (const auto& [key, value] : object.items()) {
    if (is_known(key)) continue;
    const auto meant = std::ranges::find_if(known, [&](std::string_view one) { return resembles(key, one); });
    if (meant != known.end()) found.push_back({.key = path + key, .meant = std::string(*meant)});
  }
}

}  // namespace

Keys keys_of(std::string_view plugin) {
  if (plugin == "slicer-bridge") return kBridge;
  if (plugin == "slicer-isolated") return kIsolated;
  if (plugin == "slicer-macvtap") return kMacvtap;
  if (plugin == "slicer-tap") return kTap;
  if (plugin == "slicer-firewall") return kFirewall;
  if (plugin == "slicer-ipam") return kIpam;
  return {};
}

std::vector<NearMiss> near_misses(const Json& plugin) {
  std::vector<NearMiss> found;
  const auto type_of = [](const Json& object) {
    return object.is_object() && object.contains("type") && object["type"].is_string()
               ? object["type"].get<std::string>()
               : std::string();
  };
  const std::string type = type_of(plugin);
  look_through(plugin, keys_of(type), "", found);
  if (!plugin.is_object() || !plugin.contains("ipam")) return found;
  const Json& ipam = plugin["ipam"];
  // slicer-isolated's "ipam" names no type: it is slicer-ipam.
  const std::string ipam_type = type_of(ipam).empty() && type == "slicer-isolated" ? "slicer-ipam" : type_of(ipam);
  look_through(ipam, keys_of(ipam_type), "ipam.", found);
  return found;
}

}  // namespace slicer::runner::doctor
