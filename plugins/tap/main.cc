// slicer-tap: nothing else lives here.
#include "lib/net/tap_label.h"
#include "plugins/tap/verbs.h"

int main(int argc, char** argv) {
  namespace tap = slicer::tap;
  if (const std::optional<int> named = slicer::net::name_tap_main(argc, argv)) return *named;
  return slicer::cni::plugin_main(
      slicer::cni::Process::real(),
      {.name = "slicer-tap",
       .about = "gives the interface of another plugin to a VM, by a TAP in the same namespace",
       .add = tap::add,
       .del = tap::del,
       .check = tap::check,
       .gc = tap::gc,
       .status = tap::status,
       .accepts_host_netns = tap::accepts_host_netns});
}
