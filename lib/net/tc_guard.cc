#include "lib/net/tc_guard.h"

#include <algorithm>

#include "lib/net/tc_message.h"

namespace slicer::net {
namespace {

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

}  // namespace

Result<void> ensure_guard(RouteSocket& ns, int index, const GuardSpec& spec) {
  const std::vector<sock_filter> program = kernel_program(TRY(build_guard(spec)));
  const size_t room = 512 + program.size() * sizeof(sock_filter);
  Message filter = filter_request(RTM_NEWTFILTER, NLM_F_CREATE, place_of(index, spec), 1, room);
  filter.nest(TCA_OPTIONS, [&] {
    put_program(filter, program);
    filter.u32(TCA_BPF_FLAGS, TCA_BPF_FLAG_ACT_DIRECT);
  });
  Message requests[] = {clsact_request(index), std::move(filter)};
  const std::string action = "guard link " + std::to_string(index);
  const std::string actions[] = {action, action};
  return install_filters(ns, requests, actions);
}

Result<bool> has_guard(RouteSocket& ns, int index, const GuardSpec& spec) {
  const std::vector<sock_filter> program = kernel_program(TRY(build_guard(spec)));
  bool same = false;
  const bool found =
      TRY(query_filter(ns, place_of(index, spec), [&](nlattr* options) { same = is_program(options, program); }));
  return found && same;
}

Result<void> delete_guard(RouteSocket& ns, int index) {
  return delete_filter(ns, {.index = index, .priority = kGuardPriority});
}

}  // namespace slicer::net
