#include "lib/netfilter/upstream_rules.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/xt_conntrack.h>

#include <algorithm>
#include <cstring>
#include <string_view>

#include "lib/base/sha512.h"

namespace slicer::netfilter {
namespace {

constexpr size_t kChainLength = 28;
constexpr size_t kHashLength = 16;

/// The one address that a rule is about, from `field` of its one condition on addresses; `replies` says whether it is
/// about replies alone, too.
bool is_about(const Rule& rule, Field field, bool replies, const std::vector<addr::Ip>& addresses) {
  if (rule.matches.size() != (replies ? 2U : 1U)) return false;
  if (replies && std::ranges::none_of(rule.matches, [](const Match& one) { return one.field == Field::kReplies; }))
    return false;
  return std::ranges::any_of(rule.matches, [&](const Match& one) {
    return one.field == field && !one.negate && one.prefix.prefix == addr::bits_of(one.prefix.family()) &&
           std::ranges::find(addresses, one.prefix.ip) != addresses.end();
  });
}

/// The container that a comment of upstream's names; empty when it is another network's, or no such comment.
std::string container_of(const std::string& comment, const std::string& network) {
  const std::string head = fmt::format("name: \"{}\" id: \"", network);
  if (!comment.starts_with(head) || comment.size() <= head.size() + 1 || !comment.ends_with('"')) return {};
  return comment.substr(head.size(), comment.size() - head.size() - 1);
}

}  // namespace

std::string upstream_chain(const std::string& network, const std::string& container_id) {
  return ("CNI-" + sha512_hex(network + container_id)).substr(0, kChainLength);
}

std::string upstream_comment(const std::string& network, const std::string& container_id) {
  return fmt::format("name: \"{}\" id: \"{}\"", network, container_id);
}

std::string upstream_network_hash(const std::string& network) {
  return sha512_hex(network).substr(0, kHashLength) + "-";
}

std::string upstream_instance(const std::string& network, const UpstreamAttachment& attachment) {
  return upstream_network_hash(network) +
         sha512_hex(attachment.ifname + ":" + attachment.container_id).substr(0, kHashLength) + ",";
}

std::string upstream_spoof_chain(const UpstreamAttachment& attachment) {
  return "cni-br-iface-" + attachment.container_id + "-" + attachment.ifname;
}

bool UpstreamJudge::leads_to_masquerade(const Rule& rule) const {
  const std::string container = container_of(rule.comment, owners.network);
  if (container.empty() || rule.verdict != Verdict::kJump || rule.target != upstream_chain(owners.network, container))
    return false;
  if (!owners.only)
    return std::ranges::none_of(owners.valid, [&](const auto& one) { return one.container_id == container; });
  if (container != owners.only->container_id || rule.matches.size() != 1) return false;
  // Older ones say the address with its prefix length (TeardownIPMasq(), "for downward compatibility").
  const Match& match = rule.matches.front();
  return match.field == Field::kSource && !match.negate &&
         std::ranges::any_of(addresses, [&](const addr::Ip& ip) { return match.prefix.contains(ip); });
}

bool UpstreamJudge::masquerades(const std::string& comment) const {
  if (owners.only) return comment.starts_with(upstream_instance(owners.network, *owners.only));
  return comment.starts_with(upstream_network_hash(owners.network)) &&
         std::ranges::none_of(owners.valid, [&](const UpstreamAttachment& one) {
           return comment.starts_with(upstream_instance(owners.network, one));
         });
}

bool UpstreamJudge::opens(const Rule& rule) const {
  return rule.verdict == Verdict::kAccept && rule.comment.empty() &&
         (is_about(rule, Field::kSource, false, addresses) || is_about(rule, Field::kDestination, true, addresses));
}

bool is_match_of_replies(uint8_t revision, std::span<const uint8_t> info) {
  constexpr uint8_t kFirstWithWideMasks = 2;  // linux/netfilter/xt_conntrack.h; 3 begins in the same way
  xt_conntrack_mtinfo3 match{};
  if (revision < kFirstWithWideMasks || info.size() < sizeof(xt_conntrack_mtinfo2)) return false;
  std::memcpy(&match, info.data(), std::min(info.size(), sizeof(match)));
  return match.match_flags == XT_CONNTRACK_STATE && match.invert_flags == 0 &&
         match.state_mask == (XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED) | XT_CONNTRACK_STATE_BIT(IP_CT_RELATED));
}

}  // namespace slicer::netfilter
