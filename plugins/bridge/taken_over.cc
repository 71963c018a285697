#include "plugins/bridge/taken_over.h"

#include <algorithm>

namespace slicer::bridge {
namespace {

/// prevResult's entry of a link, `sandbox` empty: on the host.
const cni::Interface* find_entry(const cni::CniResult& previous, const std::string& name, const std::string& sandbox) {
  const auto found = std::ranges::find_if(
      previous.interfaces, [&](const cni::Interface& one) { return one.name == name && one.sandbox == sandbox; });
  return found == previous.interfaces.end() ? nullptr : &*found;
}

bool is_foreign_veth(const net::Link& link) { return link.kind == "veth" && link.alias.empty() && link.group == 0; }

}  // namespace

Result<std::optional<TakenOver>> find_taken_over(Call& call, const cni::CniResult& previous) {
  if (!call.sandbox || call.config.device != Device::kVeth) return std::nullopt;
  const cni::Interface* entry = find_entry(previous, call.attachment.ifname, call.request.env.netns);
  if (entry == nullptr) return std::nullopt;
  const std::optional<net::Link> inside = TRY(net::find_link(call.sandbox->routes, call.attachment.ifname));
  if (!inside || !is_foreign_veth(*inside) || inside->peer_index == 0) return std::nullopt;
  const Result<addr::Mac> mac = addr::parse_mac(entry->mac);
  if (!mac || *mac != inside->mac) return std::nullopt;
  std::optional<net::Link> host_end = TRY(net::find_link(call.host, inside->peer_index));
  // An index of another namespace may be one of the host's, too: the peer's own word decides.
  if (!host_end || !is_foreign_veth(*host_end) || host_end->peer_index != inside->index) return std::nullopt;
  if (find_entry(previous, host_end->name, "") == nullptr) return std::nullopt;
  return TakenOver{.inside = inside->index, .host_end = std::move(*host_end)};
}

Result<void> delete_taken_over(Call& call) {
  if (!call.request.conf.prev_result) return {};
  const std::optional<TakenOver> found = TRY(find_taken_over(call, *call.request.conf.prev_result));
  if (!found) return {};
  return net::delete_link(call.host, found->host_end.index, net::DeleteWait::kNotice);
}

}  // namespace slicer::bridge
