#pragma once
// Which links systemd-networkd and NetworkManager would take over, from their configuration files. Pure but for reading
// files below `root`, so that tests need neither program.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace slicer::runner::doctor {

/// A link of ours as [Match] sections see it.
struct LinkIdentity {
  std::string name = {};
  std::string kind = {};  ///< "tun", "veth", "bridge": also what Driver= compares
};

/// One *.network file.
struct NetworkFile {
  std::string path = {};
  bool matchable = true;  ///< false: an empty [Match], or a condition that no link of ours meets
  std::vector<std::string> names = {};
  std::vector<std::string> kinds = {};
  std::vector<std::string> types = {};
  std::vector<std::string> drivers = {};
  bool leaves_alone = false;  ///< Unmanaged=yes or KeepConfiguration=yes
};

/// systemd.network(5).
NetworkFile parse_network_file(std::string_view text, std::string path);
bool matches(const NetworkFile& file, const LinkIdentity& link);

/// The *.network files in the order in which networkd asks them; a file of /etc hides one of the same name in /run or
/// /usr/lib, a link to /dev/null hides it altogether.
std::vector<NetworkFile> read_network_files(const std::string& root);
/// The file that would configure the link; none when there is none, or the first that matches leaves it alone.
std::optional<NetworkFile> taken_by(const std::vector<NetworkFile>& files, const LinkIdentity& link);

/// networkd runs or is enabled.
bool networkd_in_use(const std::string& root);

/// NetworkManager runs.
bool network_manager_in_use(const std::string& root);
/// The patterns of NetworkManager's unmanaged-devices (NetworkManager.conf(5)), all files in its order.
std::vector<std::string> unmanaged_devices(const std::string& root);
bool is_unmanaged(const std::vector<std::string>& patterns, const LinkIdentity& link);

}  // namespace slicer::runner::doctor
