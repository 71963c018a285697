#include "plugins/tap/taken_over.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/net/tc_u32_redirect.h"

namespace slicer::tap {
namespace {

/// Whether another program of its kind could have made it: they give a TAP neither alias nor group.
bool is_unmarked_tap(const net::Link& link) {
  return link.tun && link.tun->tap && link.tun->persistent && link.alias.empty() && link.group == 0;
}

/// The target of a link's u32 redirect; none: it has none. 0: the target is gone.
Result<std::optional<int>> target_of(Call& call, const std::optional<net::Link>& from) {
  if (!from) return std::nullopt;
  const std::optional<net::U32Redirect> redirect = TRY(net::find_u32_redirect(call.sandbox->routes, from->index));
  if (!redirect) return std::nullopt;
  return redirect->target;
}

}  // namespace

Result<std::optional<TakenOver>> find_taken_over(Call& call, const cni::CniResult& previous) {
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  if (!call.sandbox || !pair) return std::nullopt;
  const std::string& name = previous.interfaces[static_cast<size_t>(pair->tap)].name;
  if (name == call.attachment.ifname) return std::nullopt;  // a plain TAP
  TakenOver found;
  found.tap = TRY(net::find_link(call.sandbox->routes, name));
  found.followed = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname));
  if (found.tap && !is_unmarked_tap(*found.tap)) return std::nullopt;
  const std::optional<int> outwards = TRY(target_of(call, found.tap));
  const std::optional<int> inwards = TRY(target_of(call, found.followed));
  const bool leads_out = outwards && *outwards == (found.followed ? found.followed->index : 0);
  const bool leads_in = inwards && *inwards == (found.tap ? found.tap->index : 0);
  if (!leads_out && !leads_in) return std::nullopt;
  return found;
}

Result<std::string> foreign_target(Call& call, const net::Link& followed) {
  const std::optional<int> target = TRY(target_of(call, followed));
  if (!target || *target == 0) return "";
  const std::optional<net::Link> link = TRY(net::find_link(call.sandbox->routes, *target));
  return link ? link->name : std::to_string(*target);
}

Result<net::Link> mark_taken_over(Call& call, const net::Link& tap) {
  TRY(net::set_link(call.sandbox->routes, tap.index, {.alias = call.attachment.alias(), .group = call.link_group()}));
  return net::get_link(call.sandbox->routes, tap.index);
}

Result<void> drop_foreign_redirects(Call& call, const net::Link& followed, const net::Link& tap) {
  TRY(net::delete_u32_redirect(call.sandbox->routes, tap.index));
  return net::delete_u32_redirect(call.sandbox->routes, followed.index);
}

Result<void> check_foreign_redirects(Call& call, const net::Link& followed, const net::Link& tap) {
  const net::Link* const ends[][2] = {{&followed, &tap}, {&tap, &followed}};
  for (const auto& [from, to] : ends)
    if (TRY(target_of(call, *from)) != to->index)
      return mismatch(fmt::format("redirect of '{}' to '{}'", from->name, to->name),
                      "tc-redirect-tap's filter is gone or changed");
  return {};
}

Result<std::optional<UpstreamsTap>> find_upstreams_tap(Call& call, const cni::CniResult& previous) {
  if (!call.sandbox || cni::find_guest_interface(previous, call.attachment.container_id)) return std::nullopt;
  const auto entry = std::ranges::find_if(previous.interfaces, [&](const cni::Interface& one) {
    return one.name == call.attachment.ifname && one.sandbox == call.request.env.netns;
  });
  if (entry == previous.interfaces.end()) return std::nullopt;
  std::optional<net::Link> tap = TRY(net::find_link(call.sandbox->routes, entry->name));
  if (!tap || !is_unmarked_tap(*tap) || tap->mac.text() != entry->mac) return std::nullopt;
  return UpstreamsTap{.tap = std::move(*tap), .entry = static_cast<int>(entry - previous.interfaces.begin())};
}

Result<void> delete_taken_over(Call& call) {
  if (!call.request.conf.prev_result) return {};
  if (const auto plain = TRY(find_upstreams_tap(call, *call.request.conf.prev_result)))
    return net::delete_link(call.sandbox->routes, plain->tap.index, net::DeleteWait::kNotice);
  const std::optional<TakenOver> found = TRY(find_taken_over(call, *call.request.conf.prev_result));
  if (!found) return {};
  if (found->followed) TRY(net::delete_u32_redirect(call.sandbox->routes, found->followed->index));
  if (!found->tap) return {};
  return net::delete_link(call.sandbox->routes, found->tap->index, net::DeleteWait::kNotice);
}

}  // namespace slicer::tap
