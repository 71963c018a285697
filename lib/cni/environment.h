#pragma once
// The CNI_* variables of a call. Source: CNI SPEC.md, section "Parameters"; checks as libcni's pkg/skel has them.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::cni {

enum class Command { kAdd, kDel, kCheck, kGc, kStatus, kVersion };
/// "ADD"
const char* command_name(Command command);

/// Looks one variable up; injected so that tests need no process.
using Getenv = std::function<std::optional<std::string>(const char* name)>;

struct Environment {
  Command command = Command::kVersion;
  std::string container_id = {};
  std::string netns = {};  ///< path; may be empty for DEL
  std::string ifname = {};
  std::map<std::string, std::string> args = {};  ///< CNI_ARGS; unknown keys are every plugin's to ignore
  std::vector<std::string> path = {};            ///< CNI_PATH, its folders
  bool netns_override = false;                   ///< CNI_NETNS_OVERRIDE=1|TRUE

  /// One of `args`, if it is there and not empty.
  [[nodiscard]] std::optional<std::string> arg(const std::string& key) const;
};

/// Reads and checks the variables that the command needs. Errors: kInvalidEnvironment; all missing ones in one message.
Result<Environment> read_environment(const Getenv& getenv);

/// `^[a-zA-Z0-9][a-zA-Z0-9_.-]*$`. Error: kInvalidEnvironment.
Result<void> check_container_id(const std::string& id);
/// The same pattern, at most 200 bytes: the network's name is part of file names and aliases. Error: kInvalidConfig.
Result<void> check_network_name(const std::string& name);
/// 1-15 bytes, not "." or "..", no '/', ':', white space (kernel: dev_valid_name()), '%' or control characters. Error:
/// kInvalidEnvironment; who checks a configuration key turns it into kInvalidConfig.
Result<void> check_ifname(const std::string& name);

}  // namespace slicer::cni
