#include "runner/hypervisor/api_hypervisor.h"

#include <fmt/format.h>

#include <algorithm>

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kAnswerLimit = 3s;
// Between two tries: it says nowhere that its socket is there or its machine runs. Its end is noticed at once.
constexpr auto kPause = 2ms;

Error failed(const Machine& machine, Error error) {
  const std::string said = last_words(machine.log);
  const std::string by = machine.program.jailer.empty() ? "" : " by " + machine.program.jailer;
  error.message = fmt::format("start {}{}: {}", machine.program.path, by, error.message);
  if (!said.empty()) error.message += fmt::format("; it says '{}'", said);
  if (said.find("Failed to exec into Firecracker: No such file") != std::string::npos)
    error.hint = "this firecracker needs libraries, and the jail has none: take the static one of the releases";
  if (error.hint.empty()) error.hint = "slicer-run doctor tells what this host lacks";
  return error;
}

}  // namespace

ConfinedSpec ApiHypervisor::common_spec(const Machine& machine) {
  return {.argv = {machine.program.path},
          .log = machine.log,
          .terminal = machine.console.get(),
          .uid = machine.uid,
          .gid = machine.gid,
          .kvm = true,
          .devices = machine.nic.devices,
          .netns = machine.nic.netns.get()};
}

Result<void> ApiHypervisor::run(const ConfinedSpec& spec, const Machine& machine, const Question& question,
                                UniqueFd listener) {
  process_ = std::make_unique<ConfinedProcess>(TRY(ConfinedProcess::start(spec)));
  listener.reset();
  Result<void> answered = await(machine, question);
  if (!answered) return std::unexpected(failed(machine, std::move(answered).error()));
  return answered;
}

Result<void> ApiHypervisor::await(const Machine& machine, const Question& question) const {
  const auto deadline = Clock::now() + machine.start_limit;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const Result<ApiAnswer> answer = call_api(socket_, {.path = question.path}, std::max(left, 1ms));
    if (answer && answer->status == 200 && answer->body.find(question.word) != std::string::npos) return {};
    if (wait_for_end(process_->pidfd(), static_cast<int>(kPause.count())))
      return fail(Kind::kUnavailable, "it ended at once");
    if (Clock::now() >= deadline)
      return fail(Kind::kBusy, fmt::format("no machine runs after {} s",
                                           std::chrono::duration<double>(machine.start_limit).count()));
  }
}

Result<void> ApiHypervisor::order(const std::string& path, const std::string& body) const {
  TRY(order_api(socket_, {.method = "PUT", .path = path, .body = body}, kAnswerLimit));
  return {};
}

}  // namespace slicer::runner
