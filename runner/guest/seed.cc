#include "runner/guest/seed.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/base/hash.h"
#include "lib/base/whole_file.h"
#include "lib/cni/json.h"
#include "runner/guest/iso_image.h"

namespace slicer::runner {
namespace {

// A JSON string is a double-quoted scalar of YAML: no name or key can be read as another type.
std::string quoted(const std::string& text) {
  return cni::Json(text).dump(-1, ' ', false, cni::Json::error_handler_t::replace);
}

std::string list_of(const std::vector<std::string>& items, const std::string& indent) {
  std::string text;
  for (const std::string& item : items) text += indent + "- " + quoted(item) + "\n";
  return text;
}

std::string meta_data(const SeedSpec& spec) {
  // The same VM is the same instance after a restart; a copy of its disk in another VM is another, and is set up anew.
  const std::string instance = spec.vm_name + "-" + base32(hash_names({spec.vm_name, spec.guest_mac}), 8);
  std::string text = fmt::format("instance-id: {}\nlocal-hostname: {}\n", quoted(instance), quoted(spec.vm_name));
  if (!spec.ssh_keys.empty()) text += "public-keys:\n" + list_of(spec.ssh_keys, "  ");
  return text;
}

std::string user_data(const SeedSpec& spec) {
  if (!spec.userdata.empty()) return spec.userdata;
  std::string text = "#cloud-config\n";
  if (!spec.ssh_keys.empty()) text += "ssh_authorized_keys:\n" + list_of(spec.ssh_keys, "  ");
  return text;
}

constexpr const char* kVendorData =
    "#cloud-config\n"
    "disable_root: false\n"
    "manage_etc_hosts: localhost\n"
    "updates:\n"
    "  network:\n"
    "    when: [\"boot-new-instance\", \"boot\"]\n";

std::vector<const cni::IpConfig*> addresses_of(const cni::CniResult& result, int guest) {
  std::vector<const cni::IpConfig*> found;
  for (const cni::IpConfig& ip : result.ips)
    if (!ip.interface || *ip.interface == guest) found.push_back(&ip);
  return found;
}

std::string route_text(const std::string& to, const addr::Ip& via, const cni::IpConfig& of, int64_t metric) {
  std::string text = fmt::format("      - to: {}\n        via: {}\n", quoted(to), quoted(via.text()));
  if (!of.address.contains(via)) text += "        on-link: true\n";
  if (metric > 0) text += fmt::format("        metric: {}\n", metric);
  return text;
}

// The routes of one address's family: the result's, else the default by its gateway, as `ip=` says it.
std::string routes_by(const cni::IpConfig& ip, const cni::CniResult& result) {
  std::string text;
  for (const cni::Route& route : result.routes) {
    if (route.dst.family() != ip.address.family()) continue;
    const std::optional<addr::Ip> via = route.gw ? route.gw : ip.gateway;
    if (via) text += route_text(route.dst.text(), *via, ip, route.priority);
  }
  if (text.empty() && ip.gateway)
    text = route_text(ip.address.family() == addr::Family::kIpv4 ? "0.0.0.0/0" : "::/0", *ip.gateway, ip, 0);
  return text;
}

std::string name_servers(const cni::Dns& dns) {
  std::vector<std::string> search = dns.search;
  if (search.empty() && !dns.domain.empty()) search.push_back(dns.domain);
  if (dns.nameservers.empty() && search.empty()) return {};
  std::string text = "    nameservers:\n";
  if (!dns.nameservers.empty()) text += "      addresses:\n" + list_of(dns.nameservers, "        ");
  if (!search.empty()) text += "      search:\n" + list_of(search, "        ");
  return text;
}

std::string network_config(const SeedSpec& spec, const cni::CniResult& result, int guest) {
  const std::vector<const cni::IpConfig*> ips = addresses_of(result, guest);
  // set-name: not every renderer of cloud-init can match by MAC alone.
  std::string text = fmt::format(
      "version: 2\nethernets:\n  eth0:\n    match:\n      macaddress: {}\n    set-name: eth0\n    dhcp4: {}\n",
      quoted(spec.guest_mac), ips.empty() ? "true" : "false");
  if (spec.mtu_bytes != 0) text += fmt::format("    mtu: {}\n", spec.mtu_bytes);
  std::vector<std::string> addresses;
  std::string routes;
  for (const addr::Family family : {addr::Family::kIpv4, addr::Family::kIpv6}) {
    const cni::IpConfig* first = nullptr;
    for (const cni::IpConfig* ip : ips) {
      if (ip->address.family() != family) continue;
      addresses.push_back(ip->address.text());
      if (first == nullptr) first = ip;
    }
    if (first != nullptr) routes += routes_by(*first, result);
  }
  if (!addresses.empty()) text += "    addresses:\n" + list_of(addresses, "      ");
  if (!routes.empty()) text += "    routes:\n" + routes;
  return text + name_servers(result.dns);
}

}  // namespace

SeedFiles seed_files(const SeedSpec& spec, const cni::CniResult& result, int guest) {
  return {.meta_data = meta_data(spec),
          .user_data = user_data(spec),
          .vendor_data = kVendorData,
          .network_config = network_config(spec, result, guest)};
}

Result<void> write_seed(const SeedFiles& files, const std::string& path) {
  const std::string image = TRY(iso_image("cidata", {{.name = "meta-data", .content = files.meta_data},
                                                     {.name = "user-data", .content = files.user_data},
                                                     {.name = "vendor-data", .content = files.vendor_data},
                                                     {.name = "network-config", .content = files.network_config}}));
  return write_whole_file(path, image);
}

}  // namespace slicer::runner
