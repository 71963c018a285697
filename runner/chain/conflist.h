#pragma once
// Networks: the configuration lists of a folder, loaded by name as libcni loads them.
// Source: CNI SPEC.md, section 1; the order and the errors are those of libcni's LoadNetworkConf.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lib/cni/json.h"

namespace slicer::chain {

/// cnitool's default of NETCONFPATH.
inline constexpr const char* kDefaultConfDir = "/etc/cni/net.d";

/// One plugin of a chain.
struct PluginConf {
  std::string type = {};
  std::map<std::string, bool> capabilities = {};
  cni::Json raw = cni::Json::object();  ///< all its keys, as they stand in the file
};

/// A network: a named list of plugins.
struct Conflist {
  std::string name = {};
  std::string file = {};  ///< where it was read; messages name it
  /// The highest version of cniVersion and cniVersions that we speak; the file's own when we speak none (the runtime
  /// then refuses the call, so that a file of the future does not hide its neighbours).
  std::string cni_version = "0.1.0";
  bool disable_check = false;
  bool disable_gc = false;
  bool load_only_inlined_plugins = false;
  bool host_netns = false;           ///< our key "netns": "host"
  std::string tap_prefix = "vmtap";  ///< our key "tap_prefix": names in the host's namespace are this and a number
  std::vector<PluginConf> plugins = {};
  std::string bytes = {};  ///< the list as text, which libcni's cache keeps
};

/// Reads a list from text; plugins of the network's folder are not looked for, and there may be none. `file` is only
/// named in messages. Errors: kDecode, kInvalidConfig; each names the file and the key.
Result<Conflist> parse_conflist(std::string_view text, const std::string& file);

/// Reads a *.conflist with the plugins of `<its folder>/<network name>/*.conf` behind its own (unless it says
/// loadOnlyInlinedPlugins). Errors: also kNotFound, kIo, and kInvalidConfig when there is no plugin in the end.
Result<Conflist> read_conflist(const std::string& file);

/// The network `name` of folder `dir`: the first *.conflist by file name that has it, then the first *.conf or *.json,
/// made a list of one. A file that cannot be read does not hide the others, other than in libcni, unless its "name" is
/// the one asked for: then its error is the answer. Error kNotFound names the networks that are there, and the files
/// that cannot be read.
Result<Conflist> load_network(const std::string& dir, const std::string& name);

/// `network` with the plugins of `<dir>/<its name>/*.conf`: for a list from the cache, which has only its own.
Result<Conflist> with_folder_plugins(Conflist network, const std::string& dir);

/// Whether a plugin of the list declares the capability: others never see its value.
bool takes_capability(const Conflist& network, const std::string& capability);

/// What a folder holds, for `network list` and `doctor`.
struct Listing {
  struct Broken {
    std::string file = {};
    Error error = {};
  };
  std::vector<Conflist> networks = {};  ///< in load_network()'s order
  std::vector<Conflist> shadowed = {};  ///< their name is an earlier file's: never loaded
  std::vector<Broken> broken = {};
};
/// Reads every file of the folder; one that is absent is empty. Error: kSystem (the folder cannot be read).
Result<Listing> list_networks(const std::string& dir);

}  // namespace slicer::chain
