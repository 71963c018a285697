#include "plugins/firewall/routed_ends.h"

#include <fmt/format.h>

#include "lib/net/sysctl.h"

namespace slicer::firewall {
namespace {

std::vector<std::string> closed_keys(const RoutedEnds& ends) {
  std::vector<std::string> keys;
  if (ends.ipv6 || !ends.restricted) return keys;
  for (const net::Link& link : ends.links) keys.push_back("net/ipv6/conf/" + link.name + "/disable_ipv6");
  return keys;
}

/// Without lists too: those that come later hold for this VM, then. Rules of somebody's may select by a group of his.
Result<void> ensure_group(net::RouteSocket& host, const RoutedEnds& ends) {
  for (const net::Link& link : ends.links) {
    if (link.group == ends.group) continue;
    if (link.group == 0) {
      TRY(net::set_link(host, link.index, {.group = ends.group}));
    } else if (ends.restricted) {
      return fail(Kind::kExists,
                  fmt::format("put '{}' into link group {}: it is in group {} of somebody else's", link.name,
                              ends.group, link.group),
                  "lists know the VM's packets by their link's group: let the other program leave this link alone, or "
                  "take the lists out");
    }
  }
  return {};
}

}  // namespace

Result<void> ensure_ends(net::RouteSocket& host, const RoutedEnds& ends) {
  for (const std::string& key : closed_keys(ends)) {
    const auto set = net::ensure_sysctl(nullptr, key, "1");
    if (!set && set.error().kind != Kind::kNotFound) return std::unexpected(set.error());  // absent: no IPv6 here
  }
  return ensure_group(host, ends);
}

Result<void> check_ends(const RoutedEnds& ends) {
  const char* hint = "the next ADD of slicer-firewall for this VM puts it back";
  for (const std::string& key : closed_keys(ends))
    if (const Result<std::string> value = net::read_sysctl(nullptr, key); value && *value != "1")
      return fail(Kind::kMismatch,
                  fmt::format("check sysctl '{}': it is {}, and the VM reaches the host by it", key, *value), hint);
  if (!ends.restricted) return {};
  for (const net::Link& link : ends.links)
    if (link.group != ends.group)
      return fail(Kind::kMismatch,
                  fmt::format("check link '{}': its group is {}, not {}, and no list judges what its VM sends from "
                              "another address",
                              link.name, link.group, ends.group),
                  hint);
  return {};
}

}  // namespace slicer::firewall
