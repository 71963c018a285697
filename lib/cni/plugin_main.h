#pragma once
// What every plugin's main() does: read, check, call the verb, print once.

#include <sys/types.h>

#include "lib/cni/environment.h"
#include "lib/cni/net_conf.h"

namespace slicer::cni {

/// The process around a call, injected so that tests need none.
struct Process {
  Getenv getenv = {};
  int in = 0;   ///< the configuration
  int out = 1;  ///< the result or the error object, written once
  int err = 2;  ///< logs
  static Process real();
};

/// One checked call of a verb.
struct Request {
  Environment env = {};
  NetConf conf = {};
  /// CNI_NETNS is the namespace that this process runs in. (CNI_NETNS_OVERRIDE does not change what is true here.)
  bool host_netns = false;
  /// CNI_NETNS names a namespace that is there. DEL may come without.
  bool netns_present = false;
};

/// A plugin: its verbs and what it is. All verbs are always there.
struct Plugin {
  const char* name = "";   ///< the conflist's type, "slicer-bridge"
  const char* about = "";  ///< one sentence, printed when started by hand
  Result<CniResult> (*add)(const Request&) = nullptr;
  Result<void> (*del)(const Request&) = nullptr;
  Result<void> (*check)(const Request&) = nullptr;
  Result<void> (*gc)(const Request&) = nullptr;
  Result<void> (*status)(const Request&) = nullptr;
  /// May CNI_NETNS be the host's own namespace? Asked before ADD and CHECK (code 8 when not and no CNI_NETNS_OVERRIDE);
  /// null: always, as for an IPAM or a chained plugin that touches no namespace.
  bool (*accepts_host_netns)(const Request&) = nullptr;
  /// False for IPAM: CNI_NETNS is then only passed on, and a path that does not exist is no error.
  bool needs_netns = true;
};

/// Runs one call. Returns the exit code: 0, or 1 with an error object on `out`. Never throws.
int plugin_main(const Process& process, const Plugin& plugin);

}  // namespace slicer::cni
