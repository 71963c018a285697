#pragma once
// A CNI runtime: runs a network's chain of plugins. Semantics are libcni's (CNI SPEC.md, section 3): plugins are found
// on CNI_PATH, see the host's namespace, the file's own keys with what the runtime adds, and nothing of a shell.

#include <chrono>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lib/cni/environment.h"
#include "lib/cni/net_conf.h"
#include "lib/cni/result_types.h"
#include "runner/chain/cache.h"
#include "runner/chain/conflist.h"

namespace slicer::chain {

/// A variable of CNI_ARGS that the runner sends with every call: its value is the VM's name, and by it the runner
/// knows its own attachments in libcni's cache, where every runtime of the host writes. (IgnoreUnknown=1 goes with it.)
inline constexpr const char* kVmArg = "SLICER_VM";

/// One finished call of a plugin, for --debug.
struct PluginCall {
  std::string network = {};
  std::string plugin = {};  ///< its type
  std::string path = {};    ///< the file that was run
  cni::Command command = cni::Command::kVersion;
  std::string input = {};   ///< stdin
  std::string output = {};  ///< stdout
  int exit_code = 0;        ///< 128 + the signal when one ended it
  std::chrono::microseconds duration = {};
};
using Trace = std::function<void(const PluginCall&)>;

/// The runtime's side of an attachment: the same for ADD, CHECK and DEL.
struct AttachmentConf {
  std::string container_id = {};
  std::string netns = {};  ///< path; empty only for DEL
  std::string ifname = {};
  CniArgs args = {};
  /// Capability name -> value; each plugin gets those that it declares.
  cni::Json capability_args = cni::Json::object();
};

struct RuntimeSettings {
  std::vector<std::string> path = {"/opt/cni/bin"};  ///< CNI_PATH
  std::string cache_dir = kDefaultCacheDir;
  std::chrono::milliseconds limit = std::chrono::milliseconds::max();  ///< of one call; libcni has none either
  Trace trace = {};
};

/// Errors name network and plugin: "ADD on network 'slicer': run 'slicer-bridge': <its message>"; kDelegate keeps the
/// plugin's code.
class Runtime {
 public:
  explicit Runtime(RuntimeSettings settings) : settings_(std::move(settings)), cache_(settings_.cache_dir) {}

  /// ADD, in order, each with the result before it; the last result is cached and returned. A failure ends the chain
  /// and undoes nothing: the caller follows with del(), as the specification has it.
  /// Errors: kInvalidEnvironment, kInvalidConfig, kUnsupportedVersion (nothing was called), kNotFound (no such plugin
  /// on CNI_PATH), kDelegate, kDecode (an unreadable result), kSystem (the cache cannot be written).
  Result<cni::CniResult> add(const Conflist& network, const AttachmentConf& attachment) const;

  /// Is every plugin of the list there? Before an ADD, so that there is nothing to take back by plugins that are not.
  /// Error: kNotFound, with the first that is not.
  [[nodiscard]] Result<void> find_plugins(const Conflist& network) const;

  /// ADD of one plugin again, with the cached result before it, for a plugin whose ADD may be repeated and takes what
  /// was edited in its configuration (slicer-firewall); its answer is not kept. An attachment whose DEL came meanwhile
  /// gets the plugin's DEL once more. Error: kNotFound, the attachment has no cached result; else as add().
  Result<void> repeat_add(const Conflist& network, const PluginConf& plugin, const AttachmentConf& attachment) const;

  /// CHECK, in order, with the cached result; success unrun when the network says disableCheck.
  /// Errors: kUnsupportedVersion below 0.4.0.
  Result<void> check(const Conflist& network, const AttachmentConf& attachment) const;

  /// DEL, in reverse order, with the cached result from 0.4.0 on; stops at the first error, then the cache entry stays
  /// for the next attempt. An unreadable entry is dropped and the DEL goes on without it.
  Result<void> del(const Conflist& network, const AttachmentConf& attachment) const;

  /// DEL of the cached attachments that `valid` lacks, then the GC verb from 1.1.0 on; goes on after errors and returns
  /// them joined. Nothing when the network says disableGC. Never for a network that other runtimes use.
  Result<void> gc(const Conflist& network, std::span<const cni::ValidAttachment> valid) const;

  /// STATUS of every plugin; the first error with its code. Success below 1.1.0.
  Result<void> status(const Conflist& network) const;

  /// The versions that a plugin supports, as its VERSION says.
  Result<std::vector<std::string>> versions(const std::string& plugin) const;

  [[nodiscard]] const Cache& cache() const { return cache_; }
  [[nodiscard]] const RuntimeSettings& settings() const { return settings_; }

 private:
  /// One call; its stdout. An empty `network` is left out of messages.
  Result<std::string> call(const std::string& network, const std::string& plugin, cni::Command command,
                           const AttachmentConf& attachment, const std::string& input) const;

  RuntimeSettings settings_;
  Cache cache_;
};

/// The DEL that must follow for an entry of the cache, in the terms that it was added with.
AttachmentConf attachment_of(const CacheEntry& entry);

/// The network as it was when the entry was added (with the plugins that its folder in `conf_dir` holds now, which the
/// cache does not keep). Errors: as parse_conflist.
Result<Conflist> network_of(const CacheEntry& entry, const std::string& conf_dir);

}  // namespace slicer::chain
