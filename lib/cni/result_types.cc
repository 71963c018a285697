#include "lib/cni/result_types.h"

#include "lib/cni/fields.h"

namespace slicer::cni {

std::optional<GuestInterface> find_guest_interface(const CniResult& result, const std::string& container_id) {
  if (container_id.empty()) return std::nullopt;
  for (size_t guest = 0; guest < result.interfaces.size(); ++guest) {
    if (result.interfaces[guest].sandbox != container_id) continue;
    for (size_t tap = 0; tap < result.interfaces.size(); ++tap) {
      const Interface& candidate = result.interfaces[tap];
      if (candidate.name == result.interfaces[guest].name && !candidate.sandbox.empty() &&
          candidate.sandbox != container_id)
        return GuestInterface{.tap = static_cast<int>(tap), .guest = static_cast<int>(guest)};
    }
  }
  return std::nullopt;
}

Result<Dns> parse_dns(const Json& dns) {
  Dns parsed;
  parsed.nameservers = TRY(strings_field(dns, "nameservers"));
  parsed.domain = TRY(string_field(dns, "domain"));
  parsed.search = TRY(strings_field(dns, "search"));
  parsed.options = TRY(strings_field(dns, "options"));
  return parsed;
}

Result<Dns> guest_dns_field(const Json& conf) {
  Dns dns = TRY(parse_dns(TRY(object_field(conf, "dns"))).context("\"dns\""));
  for (const std::string& server : dns.nameservers)
    (void)TRY(addr::parse_ip(server)
                  .context("\"dns\": \"nameservers\"")
                  .hint("give name servers by address, like \"192.0.2.53\""));
  return dns;
}

Json dns_json(const Dns& dns) {
  Json json = Json::object();
  if (!dns.nameservers.empty()) json["nameservers"] = dns.nameservers;
  if (!dns.domain.empty()) json["domain"] = dns.domain;
  if (!dns.search.empty()) json["search"] = dns.search;
  if (!dns.options.empty()) json["options"] = dns.options;
  return json;
}

Result<Route> parse_route(const Json& route) {
  constexpr Bounds kU32{.low = 0, .high = UINT32_MAX};
  const std::string dst = TRY(string_field(route, "dst"));
  if (dst.empty())
    return fail(Kind::kInvalidConfig, "\"dst\": missing in a route", "give every route a \"dst\" like \"0.0.0.0/0\"");
  Route parsed;
  parsed.dst = TRY(addr::parse_cidr(dst).context("\"dst\""));
  // Go's net.IP writes and reads an absent address as "".
  if (const std::string gw = TRY(string_field(route, "gw")); !gw.empty())
    parsed.gw = TRY(addr::parse_ip(gw).context("\"gw\""));
  parsed.mtu = TRY(int_field(route, "mtu", 0, kU32));
  parsed.advmss = TRY(int_field(route, "advmss", 0, kU32));
  parsed.priority = TRY(int_field(route, "priority", 0, kU32));
  parsed.table = TRY(optional_int_field(route, "table", kU32));
  parsed.scope = TRY(optional_int_field(route, "scope", {.low = 0, .high = 255}));
  return parsed;
}

}  // namespace slicer::cni
