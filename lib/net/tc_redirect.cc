#include "lib/net/tc_redirect.h"

#include <linux/tc_act/tc_mirred.h>

#include <optional>

#include "lib/net/tc_message.h"

namespace slicer::net {
namespace {

FilterPlace place_of(int from) { return {.index = from, .priority = kRedirectPriority}; }

/// "Matches, and no class": the filter's actions decide.
constexpr sock_filter kMatchAll[] = {{.code = BPF_RET | BPF_K, .jt = 0, .jf = 0, .k = 0xffffffff}};

Message redirect_request(int from, int to) {
  // Asked for by number, so that a second time replaces it.
  Message request = filter_request(RTM_NEWTFILTER, NLM_F_CREATE, place_of(from), 1);
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

}  // namespace

Result<void> ensure_redirect_pair(RouteSocket& ns, int a, int b) {
  Message requests[] = {clsact_request(a), clsact_request(b), redirect_request(a, b), redirect_request(b, a)};
  const std::string actions[] = {redirect_text(a, b), redirect_text(b, a), redirect_text(a, b), redirect_text(b, a)};
  return install_filters(ns, requests, actions);
}

Result<std::optional<Redirect>> find_redirect(RouteSocket& ns, int from) {
  Redirect redirect;
  const bool found = TRY(query_filter(ns, place_of(from), [&](nlattr* options) {
    const Attributes<TCA_BPF_MAX> filter(options);
    if (const std::optional<uint32_t> target = redirect_target(filter.get(TCA_BPF_ACT)))
      redirect.target = static_cast<int>(*target);
  }));
  if (!found) return std::nullopt;
  return redirect;
}

Result<bool> has_redirect(RouteSocket& ns, int from, int to) {
  const std::optional<Redirect> redirect = TRY(find_redirect(ns, from));
  return redirect && redirect->target == to;
}

Result<void> delete_redirect(RouteSocket& ns, int from) { return delete_last_filter(ns, place_of(from)); }

}  // namespace slicer::net
