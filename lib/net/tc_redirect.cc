#include "lib/net/tc_redirect.h"

#include <linux/tc_act/tc_mirred.h>

#include <optional>

#include "lib/net/tc_message.h"

namespace slicer::net {
namespace {

FilterPlace place_of(int from, uint16_t priority = kRedirectPriority) { return {.index = from, .priority = priority}; }

/// "Matches, and no class": the filter's actions decide.
constexpr sock_filter kMatchAll[] = {{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0xffffffff}};

Message redirect_request(const FilterPlace& place, int to) {
  // Asked for by number, so that a second time replaces it.
  Message request = filter_request(RTM_NEWTFILTER, NLM_F_CREATE, place, 1);
  tc_mirred mirred = {};
  mirred.action = TC_ACT_STOLEN;
  mirred.eaction = TCA_EGRESS_REDIR;
  mirred.ifindex = static_cast<uint32_t>(to);
  request.nest(TCA_OPTIONS, [&] {
    put_program(request, kMatchAll);
    request.nest(TCA_BPF_ACT, [&] {
      request.nest(1, [&] {
        request.text(TCA_ACT_KIND, "mirred").nest(TCA_ACT_OPTIONS, [&] { request.plain(TCA_MIRRED_PARMS, mirred); });
      });
    });
  });
  return request;
}

std::string redirect_text(int from, int to) {
  return "redirect link " + std::to_string(from) + " to link " + std::to_string(to);
}

Result<std::optional<Redirect>> find_at(RouteSocket& ns, const FilterPlace& place) {
  Redirect redirect;
  const bool found = TRY(query_filter(ns, place, [&](nlattr* options) {
    const Attributes<TCA_BPF_MAX> filter(options);
    if (const std::optional<uint32_t> target = redirect_target(filter.get(TCA_BPF_ACT)))
      redirect.target = static_cast<int>(*target);
  }));
  if (!found) return std::nullopt;
  return redirect;
}

}  // namespace

Result<void> ensure_redirect_pair(RouteSocket& ns, int a, int b) {
  Message requests[] = {clsact_request(a), clsact_request(b), redirect_request(place_of(a), b),
                        redirect_request(place_of(b), a)};
  const std::string actions[] = {redirect_text(a, b), redirect_text(b, a), redirect_text(a, b), redirect_text(b, a)};
  return install_filters(ns, requests, actions);
}

Result<std::optional<Redirect>> find_redirect(RouteSocket& ns, int from) { return find_at(ns, place_of(from)); }

Result<bool> has_redirect(RouteSocket& ns, int from, int to) {
  const std::optional<Redirect> redirect = TRY(find_redirect(ns, from));
  return redirect && redirect->target == to;
}

Result<void> delete_redirect(RouteSocket& ns, int from) { return delete_last_filter(ns, place_of(from)); }

// The same filter: what an ifb sends it hands back to the link that received it (drivers/net/ifb.c).
Result<void> ensure_detour(RouteSocket& ns, int index, int ifb) {
  Message requests[] = {clsact_request(index), redirect_request(place_of(index, kDetourPriority), ifb)};
  const std::string actions[] = {redirect_text(index, ifb), redirect_text(index, ifb)};
  return install_filters(ns, requests, actions);
}

Result<bool> has_detour(RouteSocket& ns, int index, int ifb) {
  const std::optional<Redirect> redirect = TRY(find_at(ns, place_of(index, kDetourPriority)));
  return redirect && redirect->target == ifb;
}

}  // namespace slicer::net
