#include "plugins/firewall/isolated_side.h"

#include <fmt/format.h>

#include <algorithm>

#include "lib/net/netns.h"
#include "lib/net/route.h"

namespace slicer::firewall {
namespace {

netfilter::IsolationOwner owner_of(const cni::Attachment& attachment) {
  return {.network = attachment.network, .alias = attachment.alias()};
}

Result<netfilter::VmTable> open_table(const net::Netns& ns) {
  const bool legacy = netfilter::has_legacy_tables();
  const net::ScopedNetns inside = TRY(net::ScopedNetns::enter(ns));
  return netfilter::VmTable::open(netfilter::BackendName::kAuto, legacy);
}

bool has_host_end(const cni::CniResult& result, const cni::Attachment& attachment) {
  const std::string name = attachment.kernel_name('s');
  return std::ranges::any_of(result.interfaces,
                             [&](const cni::Interface& one) { return one.sandbox.empty() && one.name == name; });
}

/// Addresses that an allow entry names, one by one, of those that nothing else opens.
std::vector<addr::Ip> opened_addresses(const netfilter::Policy& entries, const std::vector<addr::IpRange>& closed) {
  std::vector<addr::Ip> opened;
  for (const netfilter::PolicyEntry& entry : entries.allow) {
    const addr::Ip& ip = entry.addresses.first;
    if (ip != entry.addresses.last || !ip.is_v4() || std::ranges::find(opened, ip) != opened.end()) continue;
    if (std::ranges::any_of(closed, [&](const addr::IpRange& range) { return range.contains(ip); }))
      opened.push_back(ip);
  }
  return opened;
}

Result<void> complete(IsolatedSide& side, const cni::CniResult& result, net::RouteSocket& host, const Config& config) {
  const std::vector<addr::Ip> own = TRY(net::list_own_addresses(host, addr::Family::kIpv4));
  const std::vector<addr::IpRange> closed = netfilter::closed_to_isolated(own);
  side.rules.policy = netfilter::compile_policy(config.entries, closed);
  // The host may gain and lose addresses: that changes no list.
  const std::string prefix = config.log ? netfilter::log_prefix(config.network) : std::string();
  side.rules.lists = netfilter::policy_id(config.own ? *config.own : config.lists, prefix);
  side.opened = opened_addresses(config.entries, closed);
  if (config.log)
    side.rules.log = netfilter::DropLog{.group = netfilter::kLogGroup, .prefix = netfilter::log_prefix(config.network)};
  for (const cni::IpConfig& ip : result.ips) {
    if (!ip.address.ip.is_v4()) continue;
    side.rules.guest = ip.address.ip;
    if (ip.gateway) side.rules.gateway = *ip.gateway;
    return {};
  }
  return fail(Kind::kInvalidConfig, "read \"prevResult\": an isolated attachment without an IPv4 address",
              "put slicer-firewall right behind slicer-isolated");
}

}  // namespace

Result<std::optional<IsolatedSide>> find_isolated_side(const cni::Request& request, const cni::Attachment& attachment,
                                                       net::RouteSocket& host, const Config& config) {
  if (request.host_netns || !request.netns_present || !request.conf.prev_result) return std::nullopt;
  if (!has_host_end(*request.conf.prev_result, attachment)) return std::nullopt;
  netfilter::VmTable table = TRY(open_table(TRY(net::Netns::open(request.env.netns))));
  const std::optional<std::string> mark = TRY(table.mark());
  if (!mark || *mark != owner_of(attachment).mark())
    return fail(Kind::kMismatch,
                fmt::format("find the rules of '{}' in '{}': the namespace has none of this attachment",
                            attachment.ifname, request.env.netns),
                "run DEL and ADD again; something deleted table 'inet slicer-vm' (or chains slicer-vm-*) in it");
  IsolatedSide side{.table = std::move(table)};
  side.rules.owner = owner_of(attachment);
  side.rules.tap = attachment.ifname;
  side.rules.uplink = attachment.kernel_name('u');
  TRY(complete(side, *request.conf.prev_result, host, config));
  return std::optional(std::move(side));
}

Result<void> ensure_isolated_lists(IsolatedSide& side) {
  // The host opens first and closes last: what the namespace drops is closed all the same.
  if (!side.opened.empty()) TRY(netfilter::open_host_addresses(side.rules.owner, side.rules.guest, side.opened));
  const bool stands = side.table.check(side.rules, netfilter::VmTableCheck::kAll).has_value();
  const Result<void> put = stands ? Result<void>{} : side.table.put(side.rules);
  if (!put) {
    (void)netfilter::close_host_addresses(side.rules.owner);  // the error that counts is the first
    return std::unexpected(put.error());
  }
  if (side.opened.empty()) return netfilter::close_host_addresses(side.rules.owner);
  return {};
}

Result<void> check_isolated_lists(IsolatedSide& side) {
  TRY(side.table.check(side.rules, netfilter::VmTableCheck::kLists));
  std::vector<addr::Ip> standing = TRY(netfilter::opened_host_addresses(side.rules.owner));
  std::vector<addr::Ip> wanted = side.opened;
  std::ranges::sort(standing);
  std::ranges::sort(wanted);
  if (standing == wanted) return {};
  return fail(Kind::kMismatch,
              fmt::format("check the openings of '{}' to addresses of the host: {} stand, {} are wanted",
                          side.rules.guest.text(), standing.size(), wanted.size()),
              "call ADD of slicer-firewall again, or run DEL and ADD");
}

netfilter::NetworkRules isolated_rules(const std::string& network, const std::vector<addr::Ip>& guests) {
  netfilter::Forward forward{.bridge = netfilter::kIsolatedLinks, .any_link = true};
  // A whole address selects nothing: the family only, the same for all VMs.
  for (const addr::Ip& guest : guests)
    forward.subnets.push_back({.ip = guest, .prefix = addr::bits_of(guest.family())});
  return {.network = network, .forward = std::move(forward)};
}

Result<void> close_isolated(const cni::Request& request, const cni::Attachment& attachment) {
  if (request.conf.prev_result && !has_host_end(*request.conf.prev_result, attachment)) return {};
  return netfilter::close_host_addresses(owner_of(attachment));
}

Result<void> close_stale_isolated(const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  std::vector<netfilter::IsolationOwner> owners;
  owners.reserve(valid.size());
  for (const cni::ValidAttachment& one : valid)
    owners.push_back(owner_of({.network = network, .container_id = one.container_id, .ifname = one.ifname}));
  return netfilter::close_stale_host_addresses(network, owners);
}

}  // namespace slicer::firewall
