#include "ipam/verbs.h"

int main() {
  namespace verbs = slicer::ipam::verbs;
  return slicer::cni::plugin_main(slicer::cni::Process::real(),
                                  {.name = "slicer-ipam",
                                   .about = "gives VMs their addresses; disk format and configuration of host-local",
                                   .add = verbs::add,
                                   .del = verbs::del,
                                   .check = verbs::check,
                                   .gc = verbs::gc,
                                   .status = verbs::status,
                                   .needs_netns = false});
}
