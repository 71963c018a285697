// slicer-isolated: nothing else lives here.
#include "plugins/isolated/verbs.h"

int main() {
  namespace isolated = slicer::isolated;
  return slicer::cni::plugin_main(
      slicer::cni::Process::real(),
      {.name = "slicer-isolated",
       .about = "gives a VM a TAP in a private namespace, routed out, apart from VMs and host",
       .add = isolated::add,
       .del = isolated::del,
       .check = isolated::check,
       .gc = isolated::gc,
       .status = isolated::status,
       .accepts_host_netns = isolated::accepts_host_netns});
}
