#include "ipam/pool.h"

#include <algorithm>
#include <utility>

namespace slicer::ipam {
namespace {

using addr::Ip;
using addr::IpRange;

// Never given as part of a block: the gateway address that container networks use inside their namespaces, and every
// cloud's metadata service.
bool is_well_known(const Ip& block) {
  return block == Ip(addr::Family::kIpv4, 0xa9fe0100U) || block == Ip(addr::Family::kIpv4, 0xa9fea9fcU);
}

}  // namespace

bool Segment::contains(const Ip& ip) const {
  return range.contains(ip) && (ip.value() - range.first.value()) % stride == 0;
}

std::optional<Ip> Segment::gateway_of(const Ip& ip) const {
  if (blocks) return Ip(ip.family(), ip.value() - 1);
  return gateway;
}

Pool::Pool(std::vector<Segment> segments) : segments_(std::move(segments)) {}

const Segment* Pool::segment_of(const Ip& ip) const {
  const auto found = std::ranges::find_if(segments_, [&](const Segment& segment) { return segment.contains(ip); });
  return found == segments_.end() ? nullptr : &*found;
}

bool Pool::is_reserved(const Ip& ip) const {
  return std::ranges::any_of(segments_, [&](const Segment& segment) {
    if (segment.blocks) return segment.contains(ip) && is_well_known(Ip(ip.family(), ip.value() - 2));
    return segment.gateway == ip;
  });
}

std::string Pool::text() const {
  std::string text;
  for (const Segment& segment : segments_) {
    if (text.size() > 200) return text + ",…";
    if (!text.empty()) text += ",";
    text += segment.range.first == segment.range.last ? segment.range.first.text() : segment.range.text();
  }
  return text;
}

std::vector<Pool::Part> Pool::search_order(const std::optional<Ip>& last) const {
  std::vector<Part> order;
  order.reserve(segments_.size() + 1);
  const auto add = [&](const Segment& segment) {
    if (!segment.on_request) order.push_back({segment.range, segment.stride});
  };
  const Segment* current = last ? segment_of(*last) : nullptr;
  if (current == nullptr || current->on_request) {
    std::ranges::for_each(segments_, add);
    return order;
  }
  const auto at = static_cast<size_t>(current - segments_.data());
  if (*last != current->range.last)
    order.push_back({IpRange{last->plus(current->stride), current->range.last}, current->stride});
  for (size_t i = 1; i < segments_.size(); ++i) add(segments_[(at + i) % segments_.size()]);
  order.push_back({IpRange{current->range.first, *last}, current->stride});
  return order;
}

}  // namespace slicer::ipam
