#include "plugins/tap/chained.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/base/log.h"
#include "lib/base/steps.h"
#include "lib/base/undo.h"
#include "lib/net/shaper.h"
#include "lib/net/tc_redirect.h"
#include "plugins/tap/device.h"
#include "plugins/tap/handover.h"
#include "plugins/tap/rate.h"
#include "plugins/tap/taken_over.h"

namespace slicer::tap {
namespace {

/// The interface that the TAP stands for.
Result<net::Link> find_followed(Call& call) {
  const cni::Environment& env = call.request.env;
  std::optional<net::Link> link = TRY(net::find_link(call.sandbox->routes, env.ifname));
  if (!link)
    return fail(Kind::kNotFound, fmt::format("follow '{}' in '{}': no such link", env.ifname, env.netns),
                "the plugin before slicer-tap makes the interface CNI_IFNAME; or leave that plugin out");
  if (link->ethernet) return std::move(*link);
  return fail(Kind::kInvalidConfig,
              fmt::format("follow '{}' in '{}': it is no Ethernet interface", env.ifname, env.netns),
              "use slicer-tap behind a plugin like ptp, bridge or macvlan");
}

/// A result that has a VM's end already is a repeated call's, or another plugin's work.
Result<void> refuse_other_guest(const Call& call, const cni::CniResult& previous, const std::vector<net::Link>& own) {
  const auto pair = cni::find_guest_interface(previous, call.attachment.container_id);
  if (!pair) return {};
  const std::string& name = previous.interfaces[static_cast<size_t>(pair->guest)].name;
  if (std::ranges::any_of(own, [&](const net::Link& tap) { return tap.name == name; })) return {};
  return fail(Kind::kInvalidConfig,
              fmt::format("follow '{}': the plugins before gave '{}' the TAP '{}' already", call.attachment.ifname,
                          call.attachment.container_id, name),
              "leave slicer-tap out behind a plugin that makes TAPs; or set its \"device\": \"veth\"");
}

Result<unsigned> choose_mtu(const Call& call, const net::Link& followed) {
  const unsigned mtu = call.config.mtu_bytes;
  if (mtu <= followed.mtu_bytes) return mtu == 0 ? followed.mtu_bytes : mtu;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"mtu\": {} is above the {} of '{}'", mtu, followed.mtu_bytes, followed.name),
              "use 0 or leave the key out for that interface's MTU");
}

/// The attachment's own from an earlier ADD, put right where that is possible; none: there is none.
Result<std::optional<net::Link>> adopt_tap(Call& call, std::vector<net::Link> own, unsigned mtu_bytes) {
  if (own.empty()) return std::nullopt;
  net::Link tap = std::move(own.front());
  const auto refuse = [&](const std::string& cause) {
    return fail(Kind::kDuplicate,
                fmt::format("add TAP '{}' to '{}' in '{}': {}", tap.name, call.attachment.ifname,
                            call.request.env.netns, cause),
                "call DEL first");
  };
  if (own.size() > 1) return refuse("the attachment has several");
  if (!call.config.tap_name.empty() && tap.name != call.config.tap_name)
    return refuse(fmt::format("the attachment has this one, and '{}' is asked for", call.config.tap_name));
  TRY(net::set_link(call.sandbox->routes, tap.index, {.mtu_bytes = mtu_bytes, .up = true}));
  tap = TRY(net::get_link(call.sandbox->routes, tap.index));
  if (const std::string cause = tap_difference(call, tap, {.mtu_bytes = mtu_bytes}); !cause.empty())
    return refuse("the attachment has it already, but " + cause);
  return tap;
}

/// Somebody else's filter at our place would be replaced; one of tc-redirect-tap's, behind ours, would be cut off.
Result<void> refuse_other_redirect(Call& call, const net::Link& followed, int tap) {
  const std::string taken = TRY(foreign_target(call, followed));
  if (!taken.empty() && tap == 0)
    return fail(Kind::kExists,
                fmt::format("follow '{}' in '{}': tc-redirect-tap made the TAP '{}' for it", followed.name,
                            call.request.env.netns, taken),
                "call DEL with the result of that ADD as \"prevResult\", then ADD");
  const std::optional<net::Redirect> redirect = TRY(net::find_redirect(call.sandbox->routes, followed.index));
  if (!redirect || redirect->target == tap || redirect->target == 0) return {};
  std::string what = "it has a filter of somebody else's, of priority 2";
  if (redirect->target) {
    const std::optional<net::Link> other = TRY(net::find_link(call.sandbox->routes, *redirect->target));
    what = fmt::format("it is redirected to '{}'", other ? other->name : std::to_string(*redirect->target));
  }
  return fail(Kind::kExists, fmt::format("follow '{}' in '{}': {}", followed.name, call.request.env.netns, what),
              "remove that filter (tc filter show dev LINK ingress), or the attachment that made it");
}

/// A TAP that tc-redirect-tap made and that prevResult names becomes the attachment's own.
Result<void> take_over(Call& call, const cni::CniResult& previous, std::vector<net::Link>& own, Undo& undo) {
  if (!own.empty()) return {};
  const std::optional<TakenOver> found = TRY(find_taken_over(call, previous));
  if (!found || !found->tap) return {};
  net::RouteSocket& routes = call.sandbox->routes;
  undo.push("give the TAP back",
            [&routes, index = found->tap->index] { return net::set_link(routes, index, {.alias = "", .group = 0}); });
  own.push_back(TRY(mark_taken_over(call, *found->tap)));
  return {};
}

/// The guest's MAC is the interface's: the network knows no other.
void tell_other_mac(const Call& call, const net::Link& followed) {
  if (!call.config.asked || *call.config.asked == followed.mac) return;
  log_line(fmt::format("the MAC {} was asked for, but '{}' has {}: so has the VM", call.config.asked->text(),
                       followed.name, followed.mac.text()));
}

Result<void> check_redirect(Call& call, const net::Link& from, const net::Link& to) {
  const std::string what = fmt::format("redirect of '{}' to '{}'", from.name, to.name);
  const std::optional<net::Redirect> redirect = TRY(net::find_redirect(call.sandbox->routes, from.index));
  if (!redirect) return mismatch(what, "no such filter");
  if (!redirect->target) return mismatch(what, "another filter has its place");
  if (*redirect->target == to.index) return {};
  if (*redirect->target == 0) return mismatch(what, "it leads to a link that is gone");
  return mismatch(what, fmt::format("it leads to link {} instead of {}", *redirect->target, to.index));
}

/// The guard, and the redirects both ways. What stands already is not touched: a VM may be running.
Result<void> pass_on(Call& call, const net::Link& followed, const net::Link& tap, const net::GuardSpec& guard,
                     Undo& undo) {
  net::RouteSocket& routes = call.sandbox->routes;
  TRY(ensure_guard(call, tap, guard));
  if (TRY(net::has_redirect(routes, followed.index, tap.index)) &&
      TRY(net::has_redirect(routes, tap.index, followed.index)))
    return {};
  undo.push("delete redirect", [&routes, index = followed.index] { return net::delete_redirect(routes, index); });
  return net::ensure_redirect_pair(routes, followed.index, tap.index);
}

}  // namespace

Result<cni::CniResult> add_chained(Call& call, const cni::CniResult& previous) {
  TRY(refuse_plain_keys(call.config, call.request.conf));
  TRY(lock_sandbox(call));
  const net::Link followed = TRY(find_followed(call));
  std::vector<net::Link> own = TRY(list_own_taps(call));
  Undo undo;
  TRY(take_over(call, previous, own, undo));
  TRY(refuse_other_guest(call, previous, own));
  const unsigned mtu = TRY(choose_mtu(call, followed));
  const std::optional<net::Link> adopted = TRY(adopt_tap(call, std::move(own), mtu));
  TRY(refuse_other_redirect(call, followed, adopted ? adopted->index : 0));
  const TapPlan plan{
      .name = call.config.tap_name, .mac = device_mac(call), .mtu_bytes = mtu, .no_ipv6_link_local = true};
  const net::Link tap = adopted ? *adopted : TRY(make_tap(call, plan, undo));
  tell_other_mac(call, followed);
  const GuestPair pair{
      .tap = tap.name, .tap_mac = tap.mac.text(), .guest_mac = followed.mac.text(), .mtu_bytes = tap.mtu_bytes};
  cni::CniResult result = previous;
  if (!cni::find_guest_interface(previous, call.attachment.container_id))
    result = hand_over(std::move(result), call.request.env, pair);
  const auto guest = cni::find_guest_interface(result, call.attachment.container_id);
  if (!guest) return fail(Kind::kInternal, "hand the interface over: the result has no VM's end");
  TRY(pass_on(call, followed, tap, guard_of(call, followed.mac, guest_addresses(result, guest->guest)), undo));
  if (adopted) TRY(drop_foreign_redirects(call, followed, tap));
  TRY(limit_pair(
      call, {.tap = tap.index, .followed = followed.index, .mtu_bytes = tap.mtu_bytes, .adopted = adopted.has_value()},
      undo));
  undo.commit();
  return result;
}

Result<void> check_chained(Call& call, const cni::CniResult& previous, const cni::GuestInterface& pair) {
  const cni::Interface& entry = previous.interfaces[static_cast<size_t>(pair.guest)];
  const std::string what = fmt::format("TAP '{}' in '{}'", entry.name, call.request.env.netns);
  const net::Link followed = TRY(find_followed(call).context("check"));
  const std::optional<net::Link> tap = TRY(net::find_link(call.sandbox->routes, entry.name));
  if (!tap) return mismatch(what, "no such link");
  const std::optional<TakenOver> taken = TRY(find_taken_over(call, previous));
  if (!taken && (!tap->tun || tap->alias != call.attachment.alias())) return mismatch(what, "it is somebody else's");
  const unsigned mtu = call.config.mtu_bytes == 0 ? followed.mtu_bytes : call.config.mtu_bytes;
  if (const std::string cause = tap_difference(call, *tap, {.mtu_bytes = mtu}); !cause.empty())
    return mismatch(what, cause);
  if (followed.mac.text() != entry.mac)
    return mismatch(fmt::format("interface '{}' in '{}'", followed.name, call.request.env.netns),
                    fmt::format("its MAC is {} and the guest's {}", followed.mac.text(), entry.mac));
  if (!followed.up)
    return mismatch(fmt::format("interface '{}' in '{}'", followed.name, call.request.env.netns), "it is down");
  if (taken) {
    TRY(check_foreign_redirects(call, followed, *tap));
  } else {
    TRY(check_redirect(call, followed, *tap));
    TRY(check_redirect(call, *tap, followed));
  }
  Result<void> guarded = check_guard(call, *tap, guard_of(call, followed.mac, guest_addresses(previous, pair.guest)));
  if (!guarded && taken) guarded.error().message += ": tc-redirect-tap made this TAP, without one";
  TRY(std::move(guarded));
  return check_limits(call, {.tap = tap->index, .followed = followed.index, .mtu_bytes = tap->mtu_bytes});
}

Result<void> delete_chained(net::RouteSocket& routes, const std::vector<net::Link>& taps,
                            const std::vector<net::Link>& sources) {
  Steps steps;
  for (const net::Link& source : sources) {
    const Result<std::optional<net::Redirect>> redirect = net::find_redirect(routes, source.index);
    if (!redirect) {
      steps.take(std::unexpected(redirect.error()));
      continue;
    }
    if (!*redirect || !(*redirect)->target) continue;
    const int target = *(*redirect)->target;
    // A TAP that somebody deleted leaves a filter that drops everything.
    const bool ours =
        target == 0 || std::ranges::any_of(taps, [&](const net::Link& tap) { return tap.index == target; });
    if (!ours) continue;
    steps.take(net::delete_send_limit(routes, source.index));  // first: the redirect says that it is ours
    steps.take(net::delete_redirect(routes, source.index));
  }
  for (const net::Link& tap : taps) steps.take(net::delete_link(routes, tap.index, net::DeleteWait::kNotice));
  return std::move(steps).end();
}

}  // namespace slicer::tap
