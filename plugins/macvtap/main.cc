// slicer-macvtap: nothing else lives here.
#include "plugins/macvtap/verbs.h"

int main() {
  namespace macvtap = slicer::macvtap;
  return slicer::cni::plugin_main(slicer::cni::Process::real(),
                                  {.name = "slicer-macvtap",
                                   .about = "puts a VM on the LAN of one of the host's interfaces, by a macvtap",
                                   .add = macvtap::add,
                                   .del = macvtap::del,
                                   .check = macvtap::check,
                                   .gc = macvtap::gc,
                                   .status = macvtap::status,
                                   .accepts_host_netns = macvtap::accepts_host_netns});
}
