#include "tests/system/conformance/subjects.h"

#include <array>
#include <string>

#include "tests/system/fixture/process.h"

namespace slicer::test::conformance {
namespace {

constexpr std::array kSubjects = {
    Subject{.name = "slicer-bridge",
            .keys = R"({"bridge": "slicer0", "isGateway": true,
                        "ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .lease = "192.0.2.9/24"},
    Subject{.name = "slicer-macvtap",
            .keys = R"({"parent": "lan0", "probe": false,
                        "ipam": {"type": "slicer-ipam", "gateway": "198.51.100.1/24"}})",
            .host = "link add lan0 type veth peer name lan1\naddr add 198.51.100.2/24 dev lan0\n"
                    "link set lan1 up\nlink set lan0 up\n",
            .lease = "198.51.100.230/24"},
    Subject{.name = "slicer-isolated",
            .keys = R"({"range": "169.254.100.0/22", "ipam": {"type": "slicer-ipam"}})",
            .lease = "169.254.100.6/30"},
    Subject{.name = "slicer-firewall", .behind = "slicer-bridge", .makes_interface = false},
    // First in its chain: a TAP of the namespace with addresses of its own. Behind other plugins: tests/system/tap.
    Subject{.name = "slicer-tap",
            .keys = R"({"macspoofchk": true,
                        "ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .lease = "192.0.2.9/24"},
    Subject{.name = "slicer-ipam",
            .keys = R"({"ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .makes_interface = false},
};

}  // namespace

std::span<const Subject> subjects() { return kSubjects; }

const Subject& subject(const char* name) {
  for (const Subject& each : kSubjects)
    if (std::string(each.name) == name) return each;
  give_up(std::string("no subject is called ") + name);
}

}  // namespace slicer::test::conformance
