#include "plugins/isolated/blocks.h"

#include <fmt/core.h>

#include <algorithm>

#include "ipam/client.h"
#include "ipam/config.h"
#include "lib/net/route.h"
#include "plugins/isolated/range.h"

namespace slicer::isolated {
namespace {

using addr::Cidr;
using addr::Ip;

constexpr unsigned kBlockPrefix = 30;
/// A race lost again and again: more often than any range of ours has blocks.
constexpr int kMaxClaims = 20000;

Cidr block_of(const Ip& guest) { return Cidr{.ip = guest, .prefix = kBlockPrefix}.network(); }

/// Link routes to all of link-local, as RHEL and avahi make, say nothing of a block.
bool is_link_local_route(const Cidr& destination) {
  return destination == Cidr{.ip = Ip(addr::Family::kIpv4, 0xa9fe0000U), .prefix = 16};
}

/// Everybody's: no guest may have one. slicer-ipam never gives them, another IPAM may.
std::optional<Ip> well_known_in(const Cidr& block) {
  for (const Ip& ip : {next_hop(), Ip(addr::Family::kIpv4, 0xa9fea9feU)})  // 169.254.169.254: the clouds' metadata
    if (block.contains(ip)) return ip;
  return std::nullopt;
}

std::unexpected<Error> not_a_block(const std::string& cause) {
  return fail(Kind::kInvalidConfig, fmt::format("\"ipam\": gave {}", cause),
              "an isolated VM needs one IPv4 /30 with its gateway: leave \"ipam\" out, or let it give such blocks");
}

/// Only those that hold a requested address, when one is asked for: it is no reason to move on.
Result<std::vector<Cidr>> ranges_to_try(const Call& call) {
  std::vector<Cidr> ranges = ranges_of(call);
  const cni::Request request = ipam_request(call, ranges.front());
  const ipam::Config config = TRY(ipam::parse_config(request.conf, request.env));
  if (config.requested.empty()) return ranges;
  const auto holds_one = [&](const Cidr& range) {
    return std::ranges::any_of(config.requested, [&](const Ip& ip) { return range.contains(ip); });
  };
  const auto found = std::ranges::find_if(ranges, holds_one);
  return std::vector{found == ranges.end() ? ranges.front() : *found};
}

/// A block of one range; absent: it is exhausted, and `exhausted` says how.
Result<std::optional<Block>> reserve_in(Call& call, const Cidr& range, const Claim& claim, bool second_look,
                                        std::optional<Error>& exhausted) {
  const cni::Request request = ipam_request(call, range);
  const ipam::Search search{.in_use = [&](const Ip& guest) { return is_block_used(call.host, guest, range.prefix); },
                            .second_look = second_look};
  for (int i = 0; i < kMaxClaims; ++i) {
    Result<cni::CniResult> addresses = ipam::add_checked(request, search);
    if (!addresses && addresses.error().kind == Kind::kExhausted) {
      exhausted = std::move(addresses).error();
      return std::nullopt;
    }
    if (!addresses) return std::unexpected(std::move(addresses).error());
    const Result<bool> mine = claim(addresses->ips.front().address.ip);
    if (mine && *mine) return Block{.addresses = std::move(*addresses), .range = range};
    TRY(ipam::give_up(request, addresses->ips.front().address.ip));
    if (!mine) return std::unexpected(mine.error());
  }
  return std::nullopt;
}

Result<Block> reserve_own(Call& call, const Claim& claim) {
  const std::vector<Cidr> ranges = TRY(ranges_to_try(call));
  std::optional<Error> exhausted;
  // What is held back is looked at again only when there is nothing else: a later ADD does not pay for it again.
  for (const bool second_look : {false, true}) {
    for (const Cidr& range : ranges) {
      std::optional<Block> block = TRY(reserve_in(call, range, claim, second_look, exhausted));
      if (block) return std::move(*block);
    }
  }
  if (ranges.size() > 1)
    return fail(Kind::kExhausted,
                fmt::format("reserve a block for network '{}': all {} ranges of 169.254.0.0/16 are full or in use",
                            call.attachment.network, ranges.size()),
                "remove attachments that are not needed, run GC, or set \"range\"");
  if (exhausted) exhausted->message = fmt::format("\"range\": {}: {}", ranges.front().text(), exhausted->message);
  if (exhausted) return std::unexpected(std::move(*exhausted));
  return fail(Kind::kBusy,
              fmt::format("reserve a block for network '{}': others took {} of '{}' first, one after the other",
                          call.attachment.network, kMaxClaims, ranges.front().text()),
              "see `ip route` for who adds routes there; try again, or set another \"range\"");
}

Result<Block> reserve_foreign(Call& call, const Claim& claim) {
  Block block;
  block.addresses = TRY(ipam::add(call.request));
  Undo undo;
  undo.push("release addresses", [&call] { return ipam::del(call.request); });
  const GuestPlan guest = TRY(plan_guest(call, block.addresses));
  block.range = block_of(guest.ip);
  if (TRY(is_block_used(call.host, guest.ip, kBlockPrefix)) || !TRY(claim(guest.ip)))
    return fail(Kind::kExists, fmt::format("use block '{}': the host uses it", block.range.text()),
                "see `ip route` for who; let the IPAM plugin give another block");
  undo.commit();
  return block;
}

}  // namespace

Ip next_hop() { return {addr::Family::kIpv4, 0xa9fe0101U}; }

std::vector<Cidr> ranges_of(const Call& call) {
  if (call.config.range) return {*call.config.range};
  return default_ranges(call.attachment.network);
}

cni::Request ipam_request(const Call& call, const std::optional<Cidr>& range) {
  cni::Request request = call.request;
  if (!call.config.own_ipam) return request;
  request.conf.ipam_type = call.config.ipam.at("type");
  request.conf.raw["ipam"] = call.config.ipam;
  if (range) request.conf.raw["ipam"]["subnet"] = range->text();
  return request;
}

Result<Block> reserve_block(Call& call, const Claim& claim, Undo& undo) {
  Block block = call.config.own_ipam ? TRY(reserve_own(call, claim)) : TRY(reserve_foreign(call, claim));
  undo.push("release addresses", [&call] { return ipam::del(ipam_request(call)); });
  block.addresses.interfaces.clear();  // an IPAM has none to give (SPEC.md, section 4)
  for (cni::IpConfig& ip : block.addresses.ips) ip.interface.reset();
  return block;
}

Result<bool> is_block_used(net::RouteSocket& host, const Ip& guest, unsigned range_prefix) {
  const Cidr block = block_of(guest);
  // A route that covers the block decides about all four, one inside it about at least one of them.
  for (Ip ip = block.first(); ip <= block.last(); ip = ip.plus(1)) {
    const std::optional<Cidr> destination = TRY(net::find_destination_of(host, ip));
    if (destination && destination->prefix >= range_prefix && !is_link_local_route(*destination)) return true;
  }
  return false;
}

Result<GuestPlan> plan_guest(const Call& call, const cni::CniResult& addresses) {
  if (addresses.ips.size() != 1) return not_a_block(fmt::format("{} addresses", addresses.ips.size()));
  const cni::IpConfig& ip = addresses.ips.front();
  if (!ip.address.ip.is_v4() || ip.address.prefix != kBlockPrefix)
    return not_a_block(fmt::format("'{}'", ip.address.text()));
  const Cidr block = ip.address.network();
  if (const std::optional<Ip> taken = well_known_in(block))
    return not_a_block(
        fmt::format("'{}', whose block holds {}, which no VM may have", ip.address.text(), taken->text()));
  const Ip gateway = ip.gateway.value_or(block.first().plus(1));
  const auto is_host = [&](const Ip& one) {
    return block.contains(one) && one != block.first() && one != block.last();
  };
  if (!is_host(ip.address.ip) || !is_host(gateway) || gateway == ip.address.ip)
    return not_a_block(fmt::format("'{}' with gateway '{}'", ip.address.text(), gateway.text()));
  return GuestPlan{.mac = call.config.mac.value_or(call.attachment.guest_mac(call.machine_id)),
                   .ip = ip.address.ip,
                   .gateway = gateway,
                   .prefix = ip.address.prefix};
}

}  // namespace slicer::isolated
