#pragma once
// What the global flags and the environment say; every command gets it.

#include <string>
#include <vector>

namespace slicer::runner {

struct Settings {
  std::string conf_dir = "/etc/cni/net.d";                ///< --cni-conf-dir, NETCONFPATH
  std::vector<std::string> cni_path = {"/opt/cni/bin"};   ///< --cni-path, CNI_PATH
  std::string cache_dir = "/var/lib/cni";                 ///< libcni's: results are in its folder "results"
  std::string state_dir = "/run/slicer";                  ///< one folder per VM
  std::string data_dir = "/var/lib/slicer";               ///< what outlives a run: VMs, keys, images
  std::string image_dir = "/var/lib/slicer/images/demo";  ///< the image of a VM that names none
  bool debug = false;                                     ///< --debug: the plugins' calls and answers on stderr
};

}  // namespace slicer::runner
