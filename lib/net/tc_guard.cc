#include "lib/net/tc_guard.h"

#include <algorithm>

#include "lib/net/checksum_program.h"
#include "lib/net/tc_message.h"

namespace slicer::net {
namespace {

constexpr uint32_t kGuardHandle = 1;
constexpr uint32_t kChecksumHandle = 2;

std::vector<sock_filter> kernel_program(const std::vector<BpfInstruction>& program) {
  std::vector<sock_filter> filter;
  filter.reserve(program.size());
  for (const BpfInstruction& each : program)
    filter.push_back({.code = each.code, .jt = each.jump_true, .jf = each.jump_false, .k = each.k});
  return filter;
}

FilterPlace place_of(int index, const GuardSpec& spec) {
  return {.index = index, .priority = kGuardPriority, .egress = spec.egress};
}

bool is_program(nlattr* options, const std::vector<sock_filter>& wanted) {
  const Attributes<TCA_BPF_MAX> at(options);
  const std::span<const uint8_t> loaded = at.bytes(TCA_BPF_OPS);
  const uint32_t flags = at.number<uint32_t>(TCA_BPF_FLAGS).value_or(0);
  const auto* bytes = reinterpret_cast<const uint8_t*>(wanted.data());
  return (flags & TCA_BPF_FLAG_ACT_DIRECT) != 0 &&
         std::equal(loaded.begin(), loaded.end(), bytes, bytes + wanted.size() * sizeof(sock_filter));
}

/// Beside the guard, in no order: a frame goes on when both let it.
Message checksum_request(int index, const GuardSpec& spec, const UniqueFd& program) {
  Message filter = filter_request(RTM_NEWTFILTER, NLM_F_CREATE, place_of(index, spec), kChecksumHandle);
  filter.nest(TCA_OPTIONS, [&] {
    filter.u32(TCA_BPF_FD, static_cast<uint32_t>(program.get()));
    filter.text(TCA_BPF_NAME, kChecksumFilter);
    filter.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
  return filter;
}

bool is_checksum_filter(nlattr* options) {
  const Attributes<TCA_BPF_MAX> at(options);
  const uint32_t flags = at.number<uint32_t>(TCA_BPF_FLAGS).value_or(0);
  return (flags & TCA_BPF_FLAG_ACT_DIRECT) != 0 && at.text(TCA_BPF_NAME) == kChecksumFilter;
}

Result<bool> has_checksum_filter_at(RouteSocket& ns, const FilterPlace& place) {
  bool there = false;
  (void)TRY(query_filter(ns, place, [&](nlattr* options) { there = is_checksum_filter(options); }, kChecksumHandle));
  return there;
}

}  // namespace

Result<void> ensure_guard(RouteSocket& ns, int index, const GuardSpec& spec) {
  const std::vector<sock_filter> program = kernel_program(TRY(build_guard(spec)));
  const size_t room = 512 + program.size() * sizeof(sock_filter);
  const std::string action = "guard link " + std::to_string(index);
  std::vector<Message> requests;
  requests.push_back(clsact_request(index));
  Message& filter =
      requests.emplace_back(filter_request(RTM_NEWTFILTER, NLM_F_CREATE, place_of(index, spec), kGuardHandle, room));
  filter.nest(TCA_OPTIONS, [&] {
    put_program(filter, program);
    filter.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
  const std::optional<UniqueFd> checksum = load_checksum_program();
  if (checksum) requests.push_back(checksum_request(index, spec, *checksum));
  const std::vector<std::string> actions(requests.size(), action);
  return install_filters(ns, requests, actions);
}

Result<bool> has_guard(RouteSocket& ns, int index, const GuardSpec& spec) {
  const std::vector<sock_filter> program = kernel_program(TRY(build_guard(spec)));
  bool same = false;
  const bool found = TRY(query_filter(
      ns, place_of(index, spec), [&](nlattr* options) { same = is_program(options, program); }, kGuardHandle));
  if (!found || !same) return false;
  // A kernel that does not take it has had to do without.
  return TRY(has_checksum_filter_at(ns, place_of(index, spec))) || !load_checksum_program();
}

Result<bool> has_checksum_filter(RouteSocket& ns, int index) { return has_checksum_filter_at(ns, place_of(index, {})); }

Result<void> delete_guard(RouteSocket& ns, int index) {
  return delete_filter(ns, {.index = index, .priority = kGuardPriority});
}

}  // namespace slicer::net
