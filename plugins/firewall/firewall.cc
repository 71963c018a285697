#include "plugins/firewall/firewall.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "lib/addr/link_local.h"
#include "lib/base/log.h"
#include "lib/base/undo.h"
#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/cni/repeated.h"
#include "lib/net/address.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/shared_bridge.h"
#include "lib/netfilter/upstream.h"
#include "plugins/firewall/config.h"
#include "plugins/firewall/firewalld.h"
#include "plugins/firewall/isolated_side.h"
#include "plugins/firewall/macvtap_side.h"
#include "plugins/firewall/proxy_record.h"
#include "plugins/firewall/routed_ends.h"
#include "plugins/firewall/segregation.h"

namespace slicer::firewall {
namespace {

/// One call on an attachment: what its configuration and prevResult say, and what is to stand for it.
struct Call {
  Config config;
  std::unique_ptr<netfilter::Backend> backend;
  const cni::CniResult& result;
  net::RouteSocket host;
  cni::Attachment attachment;
  HostSide side = {};
  std::vector<addr::Ip> guests = {};
  std::vector<addr::Cidr> subnets = {};
  std::optional<IsolatedSide> isolated = {};  ///< its lists stand in its own namespace
  std::optional<MacvtapSide> macvtap = {};    ///< the same
  bool segregated = false;  ///< VMs reach each other through the host: because of this call's policies, or earlier ones
  bool was_segregated = false;  ///< because of earlier ones

  [[nodiscard]] SegregationSpec segregation() const { return {.side = side, .guests = guests}; }
};

Result<const cni::CniResult*> previous_result(const cni::Request& request) {
  if (request.conf.prev_result) return &*request.conf.prev_result;
  return fail(Kind::kInvalidConfig, "read \"prevResult\": it is missing",
              "slicer-firewall comes after the plugin that makes the interface, in the same conflist");
}

cni::Attachment attachment_of(const cni::Request& request) {
  return {.network = request.conf.name, .container_id = request.env.container_id, .ifname = request.env.ifname};
}

/// An address that the result gives to an interface of the host.
bool is_hosts_own(const cni::CniResult& result, const cni::IpConfig& ip) {
  if (!ip.interface || *ip.interface < 0) return false;
  const auto index = static_cast<size_t>(*ip.interface);
  return index < result.interfaces.size() && result.interfaces[index].sandbox.empty();
}

/// Rules made from a result that tells of the host alone would be about the host's own addresses.
Result<void> check_vm_interface(const cni::CniResult& result) {
  const auto is_host = [](const cni::Interface& one) { return one.sandbox.empty(); };
  if (result.interfaces.empty() || !std::ranges::all_of(result.interfaces, is_host)) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("read \"prevResult\": all of its interfaces are the host's ('{}'), none is the VM's",
                          result.interfaces.front().name),
              "put slicer-firewall behind the plugin that makes the VM's or the container's interface");
}

/// 0.0.0.0/0 would select every packet of the host.
Result<void> check_subnet(const addr::Cidr& subnet) {
  if (subnet.prefix != 0) return {};
  return fail(
      Kind::kInvalidConfig,
      fmt::format("read \"prevResult\": address '{}' has the prefix length 0, which is no network's", subnet.text()),
      "give the IPAM section a subnet");
}

Result<void> check_routed_subnet(const addr::Cidr& subnet) {
  if (subnet.prefix < addr::bits_of(subnet.family())) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("select the network by subnet: address '{}' of prevResult has none", subnet.text()),
              "give the IPAM section a subnet, so that one rule serves all VMs of the network");
}

/// Only what passes the host's packet filter can be judged there.
Result<void> check_gateway(Call& call) {
  const std::string place = fmt::format("enforce \"drop\" and \"allow\" on bridge '{}'", call.side.bridge);
  const char* hint =
      "set \"isGateway\": true in the bridge plugin, so that the VMs' packets pass the host, or take the "
      "lists out";
  if (call.subnets.empty())
    return fail(Kind::kInvalidConfig, place + ": the VM has no address, the network no gateway", hint);
  for (const addr::Cidr& subnet : call.subnets) {
    const auto standing = TRY(net::list_addresses(call.host, call.side.gateway_index, subnet.family()));
    const bool routed =
        std::ranges::any_of(standing, [&](const net::LinkAddress& one) { return subnet.contains(one.address.ip); });
    if (!routed)
      return fail(Kind::kInvalidConfig, fmt::format("{}: it has no address in {}", place, subnet.text()), hint);
  }
  return {};
}

Result<void> check_enforceable(Call& call) {
  if (call.isolated || !call.config.restricts()) return {};
  if (!call.side.bridge.empty()) return check_gateway(call);
  if (call.config.ingress != netfilter::Ingress::kOpen)
    return fail(Kind::kInvalidConfig, "\"ingressPolicy\": the network has no bridge",
                "use \"open\", or put slicer-firewall behind slicer-bridge");
  if (call.macvtap || (call.side.present && !call.subnets.empty())) return {};
  return fail(Kind::kInvalidConfig,
              "\"drop\" and \"allow\": the packets of this attachment do not pass the host (macvlan, ipvlan, a device "
              "of its own)",
              "use slicer-macvtap, slicer-isolated or slicer-bridge, where lists can be enforced");
}

/// What the host's FORWARD needs for an isolated VM goes where its other rules stand, unless "backend" says where.
std::unique_ptr<netfilter::Backend> make_backend_of(const Call& call) {
  const bool follows = call.isolated && call.config.backend == netfilter::BackendName::kAuto;
  return netfilter::make_backend(follows ? call.isolated->table.place() : call.config.backend);
}

/// A chain that says "firewall" means upstream's plugin, in whose place ours is installed: without "backend" that one
/// takes firewalld where it runs.
Result<void> follow_upstream(const cni::NetConf& conf, Config& config) {
  if (conf.type != "firewall" || !TRY(cni::string_field(conf.raw, "backend")).empty()) return {};
  std::string zone = TRY(cni::string_field(conf.raw, "firewalldZone"));
  if (zone.empty()) zone = "trusted";
  const Result<void> running = probe_zone(zone);
  if (running) config.zone = std::move(zone);
  return {};
}

Result<Call> open_call(const cni::Request& request) {
  Config config = TRY(parse_config(request.conf));
  TRY(follow_upstream(request.conf, config));
  const cni::CniResult* result = TRY(previous_result(request));
  net::RouteSocket host = TRY(net::RouteSocket::open());
  Call call{.config = std::move(config),
            .backend = {},
            .result = *result,
            .host = std::move(host),
            .attachment = attachment_of(request)};
  call.side = TRY(find_host_side(call.host, call.result, request.host_netns ? request.env.netns : ""));
  call.isolated = TRY(find_isolated_side(request, call.attachment, call.host, call.config));
  call.backend = make_backend_of(call);
  TRY(check_vm_interface(call.result));
  call.macvtap = TRY(find_macvtap_side(request, call.attachment, call.config));
  for (const cni::IpConfig& ip : call.result.ips) {
    if (is_hosts_own(call.result, ip)) continue;
    TRY(check_subnet(ip.address));
    if (call.side.present && call.side.bridge.empty() && !call.isolated) TRY(check_routed_subnet(ip.address));
    call.guests.push_back(ip.address.ip);
    call.subnets.push_back(ip.address.network());
  }
  TRY(find_gateway(call.host, call.side, call.subnets));
  TRY(check_enforceable(call));
  const Config& set = call.config;
  call.was_segregated = TRY(is_segregated(call.side));
  call.segregated =
      !call.side.bridge.empty() &&
      (call.was_segregated || TRY(is_marked(call.side)) || set.ingress == netfilter::Ingress::kIsolated ||
       needs_segregation(set.lists, call.subnets) || (set.own && needs_segregation(*set.own, call.subnets)));
  return call;
}

/// Under which a guest sends besides: whatever it opens from there is judged as the rest.
std::vector<addr::Ip> link_local_addresses(const Call& call) {
  const auto pair = cni::find_guest_interface(call.result, call.attachment.container_id);
  std::vector<addr::Ip> all;
  for (size_t i = 0; i < call.result.interfaces.size(); ++i) {
    const cni::Interface& one = call.result.interfaces[i];
    if (pair ? static_cast<size_t>(pair->guest) != i : one.sandbox.empty() || one.name != call.attachment.ifname)
      continue;
    if (const Result<addr::Mac> mac = addr::parse_mac(one.mac)) all.push_back(addr::link_local_of(*mac));
  }
  return all;
}

/// Absent: the attachment is none of a routed network, or its packets do not pass the host.
std::optional<RoutedEnds> routed_ends(const Call& call) {
  if (call.isolated || call.macvtap || call.side.ends.empty() || call.subnets.empty()) return std::nullopt;
  const bool v6 = std::ranges::any_of(call.guests, [](const addr::Ip& ip) { return !ip.is_v4(); });
  return RoutedEnds{.links = call.side.ends,
                    .group = cni::routed_group(call.config.network),
                    .restricted = call.config.restricts(),
                    .ipv6 = v6};
}

netfilter::PolicyRules policy_rules(const Call& call) {
  netfilter::PolicyRules policy{.lists = call.config.lists, .ingress = call.config.ingress, .log = call.config.log};
  policy.segregated = call.segregated;
  std::vector<addr::Ip> addresses = call.guests;
  std::ranges::move(link_local_addresses(call), std::back_inserter(addresses));
  policy.vms.push_back({.owner = call.attachment.alias(), .addresses = std::move(addresses), .own = call.config.own});
  return policy;
}

/// Nothing when the attachment's packets do not pass the host (a macvlan).
std::optional<netfilter::NetworkRules> wanted_rules(const Call& call) {
  if (call.isolated) {
    netfilter::NetworkRules rules = isolated_rules(call.config.network, call.guests);
    rules.forward->admin_chain = call.config.admin_chain;
    return rules;
  }
  if (!call.side.present || (call.side.bridge.empty() && call.subnets.empty())) return std::nullopt;
  netfilter::NetworkRules rules{
      .network = call.config.network,
      .forward = netfilter::Forward{
          .bridge = call.side.gateway, .subnets = call.subnets, .admin_chain = call.config.admin_chain}};
  if (routed_ends(call)) rules.forward->group = cni::routed_group(call.config.network);
  rules.policy = policy_rules(call);
  rules.listed_bridge = call.side.gateway;
  return rules;
}

/// The network's part: VMs keep what stands for them.
netfilter::NetworkRules without_vms(netfilter::NetworkRules rules) {
  if (rules.policy) rules.policy->vms.clear();
  return rules;
}

bool is_owner(const std::string& mark, const cni::Attachment& attachment) {
  return mark == netfilter::vm_mark(attachment.alias());
}

/// A DEL must work whatever became of the configuration since the ADD.
std::unique_ptr<netfilter::Backend> cleanup_backend(const cni::Request& request) {
  const Result<Config> config = parse_config(request.conf);
  if (!config) log_line(fmt::format("{}, ignoring", config.error().message));
  return netfilter::make_backend(config ? config->backend : netfilter::BackendName::kAuto);
}

Result<void> delete_proxies(const cni::Request& request) {
  TRY(remove_recorded_proxies(attachment_of(request)));
  if (!request.conf.prev_result) return {};
  std::vector<addr::Ip> guests;
  std::vector<addr::Cidr> subnets;
  for (const cni::IpConfig& ip : request.conf.prev_result->ips) {
    if (ip.address.ip.is_v4()) continue;
    guests.push_back(ip.address.ip);
    subnets.push_back(ip.address.network());
  }
  if (guests.empty()) return {};
  net::RouteSocket host = TRY(net::RouteSocket::open());
  Result<HostSide> side = find_host_side(host, *request.conf.prev_result, request.host_netns ? request.env.netns : "");
  if (!side) return {};  // its links are gone, and the entries with the bridge
  TRY(find_gateway(host, *side, subnets));
  return remove_proxies(host, *side, guests);
}

/// By the record of our own ADD; without one, and where the configuration names a zone, as upstream's plugin does it.
Result<void> delete_sources(const cni::Request& request) {
  if (TRY(leave_zone(attachment_of(request)))) return {};
  const Result<Config> config = parse_config(request.conf);
  if (!config || !config->zone || !request.conf.prev_result) return {};
  std::vector<addr::Ip> guests;
  for (const cni::IpConfig& ip : request.conf.prev_result->ips)
    if (!is_hosts_own(*request.conf.prev_result, ip)) guests.push_back(ip.address.ip);
  return leave_zone(*config->zone, guests);
}

/// Upstream's plugin made two rules for each address, which nobody else would remove: the next one that gets the
/// address would be let through by them.
Result<void> delete_upstream_openings(const cni::Request& request) {
  if (!request.conf.prev_result) return {};
  std::vector<addr::Ip> guests;
  for (const cni::IpConfig& ip : request.conf.prev_result->ips)
    if (!is_hosts_own(*request.conf.prev_result, ip)) guests.push_back(ip.address.ip);
  return netfilter::remove_upstream_openings(guests);
}

/// Once for each change of the rules; nothing that the call depends on.
void tell_of_shared_bridge(const std::string& bridge) {
  const auto shared = netfilter::find_shared_bridges();
  if (!shared) return log_line(shared.error().message + ", ignoring");
  for (const netfilter::SharedBridge& one : *shared)
    if (one.name == bridge) log_line(one.text() + "; " + netfilter::SharedBridge::remedy());
}

Result<void> ensure_rules(const Call& call, const netfilter::NetworkRules& rules, bool repeated) {
  bool written = false;
  netfilter::LossWatch watch;  // who else is attached may not have come to slicer-firewall yet
  watch.before_write = [&written]() -> Result<void> {
    written = true;
    return {};
  };
  TRY(call.backend->ensure_watched(rules, repeated ? nullptr : &watch));
  if (watch.lost) log_line(netfilter::loss_text(call.config.network));
  if (written && !call.side.bridge.empty()) tell_of_shared_bridge(call.side.gateway);
  return {};
}

}  // namespace

// What can fail comes first and the VM's own policy last, in one transaction (iptables: one for each family). So a call
// that fails leaves a running VM its older policy, and there is nothing of it to take back. The chains of the network
// come before its bridge is segregated: the host must not answer a VM that asks for its own address.
Result<cni::CniResult> add(const cni::Request& request) {
  Call call = TRY(open_call(request));
  const auto rules = wanted_rules(call);
  Undo undo;
  if (call.isolated) TRY(ensure_isolated_lists(*call.isolated));
  if (call.macvtap) TRY(ensure_macvtap_lists(*call.macvtap));
  if (call.segregated) {
    if (rules && !call.was_segregated) TRY(call.backend->ensure(without_vms(*rules)));
    if (TRY(write_proxy_record(call.attachment, call.side.gateway, call.guests)))
      undo.push("remove record of proxy entries", [&call] { return delete_proxy_record(call.attachment); });
    std::vector<addr::Ip> added = TRY(without_proxy(call.host, call.segregation()));
    undo.push("remove proxy entries",
              [&call, added = std::move(added)] { return remove_proxies(call.host, call.side, added); });
    TRY(ensure_segregated(call.host, call.segregation()));
  }
  if (call.config.zone && TRY(enter_zone(call.attachment, *call.config.zone, call.guests)))
    undo.push("leave zone", [&call]() -> Result<void> {
      (void)TRY(leave_zone(call.attachment));
      return {};
    });
  if (const auto ends = routed_ends(call)) TRY(ensure_ends(call.host, *ends));
  if (rules) TRY(ensure_rules(call, *rules, cni::is_repeated(request.conf)));
  undo.commit();
  return call.result;
}

// Every step is done, whatever becomes of the others; the first error is the one reported.
Result<void> del(const cni::Request& request) {
  const cni::Attachment attachment = attachment_of(request);
  Result<void> proxies = delete_proxies(request);
  Result<void> opened = close_isolated(request, attachment);
  Result<void> lists = remove_macvtap_lists(request, attachment);
  Result<void> zone = delete_sources(request);
  Result<void> upstream = delete_upstream_openings(request);
  const auto backend = cleanup_backend(request);
  TRY(backend->remove_vms(attachment.network, [&](const std::string& mark) { return is_owner(mark, attachment); }));
  TRY(std::move(opened));
  TRY(std::move(lists));
  TRY(std::move(zone));
  TRY(std::move(upstream));
  return proxies;
}

Result<void> check(const cni::Request& request) {
  Call call = TRY(open_call(request));
  if (const auto rules = wanted_rules(call)) TRY(call.backend->check(*rules));
  if (call.isolated) TRY(check_isolated_lists(*call.isolated));
  if (call.macvtap) TRY(check_macvtap_lists(*call.macvtap));
  if (const auto ends = routed_ends(call)) TRY(check_ends(*ends));
  if (call.config.zone) TRY(check_zone(*call.config.zone, call.guests));
  return call.segregated ? check_segregated(call.host, call.segregation()) : Result<void>{};
}

Result<void> gc(const cni::Request& request) {
  if (!request.conf.valid_attachments) return {};  // no list is no information
  const auto backend = cleanup_backend(request);
  Result<void> isolated = close_stale_isolated(request.conf.name, *request.conf.valid_attachments);
  Result<void> lists = remove_stale_macvtap_lists(request.conf.name, *request.conf.valid_attachments);
  Result<void> proxies = remove_stale_proxies(request.conf.name, *request.conf.valid_attachments);
  Result<void> zones = leave_stale_zones(request.conf.name, *request.conf.valid_attachments);
  Result<void> vms = backend->remove_vms(request.conf.name, [&](const std::string& mark) {
    return std::ranges::none_of(*request.conf.valid_attachments, [&](const cni::ValidAttachment& one) {
      return is_owner(mark, {.network = request.conf.name, .container_id = one.container_id, .ifname = one.ifname});
    });
  });
  TRY(std::move(isolated));
  TRY(std::move(lists));
  TRY(std::move(proxies));
  TRY(std::move(zones));
  return vms;
}

Result<void> status(const cni::Request& request) {
  const Config config = TRY(parse_config(request.conf));
  if (config.zone) TRY(probe_zone(*config.zone));
  return netfilter::make_backend(config.backend)->probe();
}

}  // namespace slicer::firewall
