#include "lib/net/tc_u32_redirect.h"

#include <linux/tc_act/tc_mirred.h>

#include <optional>
#include <string>

#include "lib/net/tc_message.h"

namespace slicer::net {
namespace {

/// A filter in a dump, when it is u32 with a redirect for its first action. (A u32 priority has entries without
/// actions, too: its hash tables.)
std::optional<U32Redirect> read_u32(nlmsghdr& message) {
  if (message.nlmsg_type != RTM_NEWTFILTER || nlmsg_datalen(&message) < static_cast<int>(sizeof(tcmsg)))
    return std::nullopt;
  const auto* head = static_cast<const tcmsg*>(nlmsg_data(&message));
  const Attributes<TCA_MAX> filter(message, sizeof(tcmsg));
  if (filter.text(TCA_KIND) != "u32") return std::nullopt;
  const Attributes<TCA_U32_MAX> options(filter.get(TCA_OPTIONS));
  const std::optional<uint32_t> target = redirect_target(options.get(TCA_U32_ACT));
  if (!target) return std::nullopt;
  return U32Redirect{.priority = static_cast<uint16_t>(TC_H_MAJ(head->tcm_info) >> 16),
                     .target = static_cast<int>(*target)};
}

}  // namespace

Result<std::optional<U32Redirect>> find_u32_redirect(RouteSocket& ns, int from) {
  std::optional<U32Redirect> found;
  TRY(list_ingress_filters(
      ns, from,
      [&](nlmsghdr& message) {
        if (!found) found = read_u32(message);
      },
      [&] { found.reset(); }));
  return found;
}

Result<void> delete_u32_redirect(RouteSocket& ns, int from) {
  const std::optional<U32Redirect> redirect = TRY(find_u32_redirect(ns, from));
  if (!redirect) return {};
  TRY(delete_filter(ns, {.index = from, .priority = redirect->priority, .kind = "u32"}));
  bool left = false;
  TRY(list_ingress_filters(
      ns, from, [&](nlmsghdr& message) { left |= message.nlmsg_type == RTM_NEWTFILTER; }, [&] { left = false; }));
  if (left) return {};
  return delete_ingress(ns, from);
}

}  // namespace slicer::net
