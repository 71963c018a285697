// slicer-bridge: nothing else lives here.
#include "plugins/bridge/verbs.h"

int main() {
  namespace bridge = slicer::bridge;
  return slicer::cni::plugin_main(slicer::cni::Process::real(),
                                  {.name = "slicer-bridge",
                                   .about = "connects a VM's TAP, or a container, to a Linux bridge",
                                   .add = bridge::add,
                                   .del = bridge::del,
                                   .check = bridge::check,
                                   .gc = bridge::gc,
                                   .status = bridge::status,
                                   .accepts_host_netns = bridge::accepts_host_netns});
}
