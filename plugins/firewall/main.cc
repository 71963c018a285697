#include "plugins/firewall/firewall.h"

int main() {
  namespace firewall = slicer::firewall;
  return slicer::cni::plugin_main(
      slicer::cni::Process::real(),
      {.name = "slicer-firewall",
       .about = "chained CNI plugin: lets a network's traffic through the host's packet filter",
       .add = firewall::add,
       .del = firewall::del,
       .check = firewall::check,
       .gc = firewall::gc,
       .status = firewall::status});
}
