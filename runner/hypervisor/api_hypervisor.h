#pragma once
// What Firecracker and Cloud Hypervisor have in common: a process that takes orders on a socket of its own.

#include <chrono>
#include <memory>
#include <string>

#include "runner/hypervisor/confined_process.h"
#include "runner/hypervisor/hypervisor.h"
#include "runner/hypervisor/vmm_api.h"

namespace slicer::runner {

class ApiHypervisor : public Hypervisor {
 public:
  [[nodiscard]] ProcessId process() const override { return process_->id(); }
  [[nodiscard]] int pidfd() const override { return process_->pidfd().get(); }
  [[nodiscard]] int event_fd() const override { return -1; }
  bool read_events() override { return true; }
  void kill() override { process_->kill(); }

 protected:
  /// A spec with what both need of a machine: its user, log, terminal, device, namespace.
  static ConfinedSpec common_spec(const Machine& machine);
  /// What is asked until a machine runs: a GET of `path` that has `word` in its answer.
  struct Question {
    std::string path = {};
    std::string word = {};
  };
  /// Starts it, and waits until its API has answered the question. `listener` is its end of the API's socket: closed
  /// here once it has it, so that its end is the socket's. Errors say what it printed.
  Result<void> run(const ConfinedSpec& spec, const Machine& machine, const Question& question, UniqueFd listener = {});
  /// An order. Errors: those of order_api().
  [[nodiscard]] Result<void> order(const std::string& path, const std::string& body = {}) const;

  std::string socket_ = {};  ///< of its API; set before run()
  std::unique_ptr<ConfinedProcess> process_ = {};

 private:
  [[nodiscard]] Result<void> await(const Machine& machine, const Question& question) const;
};

}  // namespace slicer::runner
