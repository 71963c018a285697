// A plugin that is lib/cni alone: every verb succeeds and does nothing.

#include "lib/cni/plugin_main.h"

int main() {
  namespace cni = slicer::cni;
  using Done = slicer::Result<void>;
  return cni::plugin_main(cni::Process::real(), {.name = "protocol_plugin",
                                                 .about = "does nothing, for tests",
                                                 .add = [](const cni::Request&) -> slicer::Result<cni::CniResult> {
                                                   return cni::CniResult{};
                                                 },
                                                 .del = [](const cni::Request&) -> Done { return {}; },
                                                 .check = [](const cni::Request&) -> Done { return {}; },
                                                 .gc = [](const cni::Request&) -> Done { return {}; },
                                                 .status = [](const cni::Request&) -> Done { return {}; },
                                                 .accepts_host_netns = [](const cni::Request&) { return false; }});
}
