#include "lib/cni/result_versions.h"

#include <algorithm>
#include <array>

#include "lib/cni/fields.h"

namespace slicer::cni {
namespace {

constexpr std::array<std::string_view, 7> kVersions{"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

// What a field function calls a bad configuration is undecodable input when it stands in a result.
template <class T>
Result<T> decoded(Result<T> result, const std::string& where) {
  if (result || result.error().kind != Kind::kInvalidConfig) return std::move(result).context(where);
  Error error = std::move(result).error();
  error.kind = Kind::kDecode;
  error.message.insert(0, where + ": ");
  return std::unexpected(std::move(error));
}

Result<std::optional<addr::Ip>> parse_gateway(const Json& json) {
  const std::string text = TRY(string_field(json, "gateway"));
  if (text.empty()) return std::nullopt;  // Go's net.IP writes an absent address as ""
  return TRY(addr::parse_ip(text).context("\"gateway\""));
}

Result<addr::Cidr> parse_address(const Json& json, const char* key) {
  return addr::parse_cidr(TRY(string_field(json, key))).context("\"" + std::string(key) + "\"");
}

Result<std::vector<Route>> parse_routes(const Json& json) {
  std::vector<Route> routes;
  for (const Json& route : TRY(array_field(json, "routes")))
    routes.push_back(TRY(parse_route(route).context("\"routes\"[" + std::to_string(routes.size()) + "]")));
  return routes;
}

Result<Interface> parse_interface(const Json& json) {
  Interface parsed;
  parsed.name = TRY(string_field(json, "name"));
  parsed.mac = TRY(string_field(json, "mac"));
  parsed.mtu = TRY(int_field(json, "mtu", 0, {.low = 0, .high = INT32_MAX}));
  parsed.sandbox = TRY(string_field(json, "sandbox"));
  parsed.socket_path = TRY(string_field(json, "socketPath"));
  parsed.pci_id = TRY(string_field(json, "pciID"));
  return parsed;
}

Result<IpConfig> parse_ip_config(const Json& json, size_t interfaces) {
  IpConfig config;
  config.address = TRY(parse_address(json, "address"));
  config.gateway = TRY(parse_gateway(json));
  const auto last = static_cast<int64_t>(interfaces) - 1;
  if (const auto index = TRY(optional_int_field(json, "interface", {.low = 0, .high = std::max<int64_t>(last, 0)}))) {
    if (last < 0) return fail(Kind::kInvalidConfig, "\"interface\": points to an interface, but the result has none");
    config.interface = static_cast<int>(*index);
  }
  return config;
}

// 0.3.0 and newer.
Result<CniResult> parse_list_shape(const Json& json) {
  CniResult result;
  for (const Json& item : TRY(array_field(json, "interfaces")))
    result.interfaces.push_back(
        TRY(parse_interface(item).context("\"interfaces\"[" + std::to_string(result.interfaces.size()) + "]")));
  for (const Json& item : TRY(array_field(json, "ips")))
    result.ips.push_back(TRY(
        parse_ip_config(item, result.interfaces.size()).context("\"ips\"[" + std::to_string(result.ips.size()) + "]")));
  result.routes = TRY(parse_routes(json));
  result.dns = TRY(parse_dns(TRY(object_field(json, "dns"))).context("\"dns\""));
  return result;
}

Result<void> parse_old_family(const Json& json, const char* key, CniResult& result) {
  const Json part = TRY(object_field(json, key));
  if (part.empty()) return {};
  const std::string where = "\"" + std::string(key) + "\"";
  IpConfig config;
  config.address = TRY(parse_address(part, "ip").context(where));
  if (config.address.ip.is_v4() != (std::string_view(key) == "ip4"))
    return fail(Kind::kDecode, where + ": \"" + config.address.text() + "\" is of the other family");
  config.gateway = TRY(parse_gateway(part).context(where));
  result.ips.push_back(config);
  for (Route& route : TRY(parse_routes(part).context(where))) result.routes.push_back(std::move(route));
  return {};
}

// 0.1.0 and 0.2.0: one address of each family, and no interfaces.
Result<CniResult> parse_old_shape(const Json& json) {
  CniResult result;
  TRY(parse_old_family(json, "ip4", result));
  TRY(parse_old_family(json, "ip6", result));
  result.dns = TRY(parse_dns(TRY(object_field(json, "dns"))).context("\"dns\""));
  return result;
}

Json route_json(const Route& route, bool attributes) {
  Json json = {{"dst", route.dst.text()}};
  if (route.gw) json["gw"] = route.gw->text();
  if (!attributes) return json;
  if (route.mtu != 0) json["mtu"] = route.mtu;
  if (route.advmss != 0) json["advmss"] = route.advmss;
  if (route.priority != 0) json["priority"] = route.priority;
  if (route.table) json["table"] = *route.table;
  if (route.scope) json["scope"] = *route.scope;
  return json;
}

Json interface_json(const Interface& interface, bool attributes) {
  Json json = {{"name", interface.name}};
  if (!interface.mac.empty()) json["mac"] = interface.mac;
  if (!interface.sandbox.empty()) json["sandbox"] = interface.sandbox;
  if (!attributes) return json;
  if (interface.mtu != 0) json["mtu"] = interface.mtu;
  if (!interface.socket_path.empty()) json["socketPath"] = interface.socket_path;
  if (!interface.pci_id.empty()) json["pciID"] = interface.pci_id;
  return json;
}

Json ip_json(const IpConfig& ip, bool family) {
  Json json = {{"address", ip.address.text()}};
  if (family) json["version"] = ip.address.ip.is_v4() ? "4" : "6";
  if (ip.gateway) json["gateway"] = ip.gateway->text();
  if (ip.interface) json["interface"] = *ip.interface;
  return json;
}

Json old_family_json(const CniResult& result, addr::Family family) {
  const auto first =
      std::ranges::find_if(result.ips, [&](const IpConfig& ip) { return ip.address.family() == family; });
  if (first == result.ips.end()) return {};
  Json json = {{"ip", first->address.text()}};
  if (first->gateway) json["gateway"] = first->gateway->text();
  for (const Route& route : result.routes)
    if (route.dst.family() == family) json["routes"].push_back(route_json(route, false));
  return json;
}

}  // namespace

std::span<const std::string_view> supported_versions() { return kVersions; }

bool is_supported(std::string_view version) { return std::ranges::find(kVersions, version) != kVersions.end(); }

bool version_at_least(std::string_view version, std::string_view minimum) {
  return std::ranges::find(kVersions, version) >= std::ranges::find(kVersions, minimum);
}

Result<void> check_version(std::string_view version) {
  if (is_supported(version)) return {};
  std::string list;
  for (const std::string_view known : kVersions) list.append(list.empty() ? "" : ", ").append(known);
  return fail(Kind::kUnsupportedVersion,
              "\"cniVersion\": '" + std::string(version.substr(0, 64)) + "' is not supported", "use one of " + list);
}

Result<CniResult> parse_result(const Json& json, std::string_view fallback_version) {
  if (!json.is_object()) return fail(Kind::kDecode, "read result: expected an object");
  std::string version = TRY(decoded(string_field(json, "cniVersion"), "read result"));
  if (version.empty()) version = fallback_version;
  TRY(check_version(version).context("read result"));
  return decoded(version_at_least(version, "0.3.0") ? parse_list_shape(json) : parse_old_shape(json), "read result");
}

Result<Json> result_json(const CniResult& result, std::string_view version) {
  TRY(check_version(version).context("write result"));
  Json json = {{"cniVersion", version}};
  if (!result.dns.empty()) json["dns"] = dns_json(result.dns);
  if (!version_at_least(version, "0.3.0")) {
    if (Json ip4 = old_family_json(result, addr::Family::kIpv4); !ip4.is_null()) json["ip4"] = std::move(ip4);
    if (Json ip6 = old_family_json(result, addr::Family::kIpv6); !ip6.is_null()) json["ip6"] = std::move(ip6);
    return json;
  }
  const bool attributes = version_at_least(version, "1.1.0");
  const bool family = !version_at_least(version, "1.0.0");
  for (const Interface& interface : result.interfaces)
    json["interfaces"].push_back(interface_json(interface, attributes));
  for (const IpConfig& ip : result.ips) json["ips"].push_back(ip_json(ip, family));
  for (const Route& route : result.routes) json["routes"].push_back(route_json(route, attributes));
  return json;
}

}  // namespace slicer::cni
