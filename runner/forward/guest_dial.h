#pragma once
// How a running VM's ports are reached: by its address, else by SSH.

#include <memory>
#include <string>
#include <vector>

#include "runner/forward/dialled.h"
#include "runner/forward/forward_spec.h"
#include "runner/settings.h"
#include "runner/state/vm_record.h"

namespace slicer::runner {

/// The record of a VM that runs. Errors: kNotFound, kUnavailable; `what` is what was to be done.
Result<VmRecord> load_running(const Settings& settings, const std::string& name, const std::string& what);

struct DialWish {
  std::string user = "root";  ///< for SSH
  bool direct = false;        ///< never by SSH
};

/// Reaches one VM's ports, as things stand at each call: the guest's address may have become another one.
class GuestDialler {
 public:
  /// More connections by SSH at once are refused: each is a process of its own.
  static constexpr size_t kMaxBySsh = 100;

  GuestDialler(const Settings& settings, std::string vm, DialWish wish)
      : settings_(settings), vm_(std::move(vm)), wish_(std::move(wish)) {}

  /// Begins a connection (or opens a UDP socket) to where the spec leads. The guest itself by its address, and by
  /// `ssh -W` when that refuses; any other target by `ssh -W` alone. What is dialled does not outlive this object.
  Result<Dialled> dial(const ForwardSpec& spec);

 private:
  Result<Dialled> dial_by_ssh(const ForwardSpec& spec);

  const Settings& settings_;
  std::string vm_;
  DialWish wish_;
  std::vector<std::weak_ptr<Child>> by_ssh_ = {};
};

}  // namespace slicer::runner
