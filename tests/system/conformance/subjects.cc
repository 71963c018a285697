#include "tests/system/conformance/subjects.h"

#include <array>
#include <string>

#include "tests/system/conformance/firewalld.h"
#include "tests/system/fixture/process.h"

namespace slicer::test::conformance {
namespace {

constexpr std::array kSubjects = {
    Subject{.name = "slicer-bridge",
            .keys = R"({"bridge": "slicer0", "isGateway": true,
                        "ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .lease = "192.0.2.9/24"},
    Subject{.name = "slicer-bridge",
            .variant = "veth",
            .keys = R"({"bridge": "slicer0", "isGateway": true, "device": "veth",
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
    Subject{.name = "slicer-firewall", .behind = "slicer-bridge", .link = ""},
    Subject{.name = "slicer-firewall",
            .variant = "iptables",
            .keys = R"({"backend": "iptables"})",
            .behind = "slicer-bridge",
            .link = "",
            .needs = "unshare -n iptables-legacy -t mangle -S"},
    Subject{.name = "slicer-firewall",
            .variant = "firewalld",
            .keys = R"({"backend": "firewalld"})",
            .behind = "slicer-bridge",
            .link = "",
            .needs = "busctl --version",
            .firewalld = true},
    // First in its chain: a TAP of the namespace with addresses of its own.
    Subject{.name = "slicer-tap",
            .keys = R"({"macspoofchk": true,
                        "ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .lease = "192.0.2.9/24"},
    Subject{.name = "slicer-tap",
            .variant = "chained",
            .keys = R"({"macspoofchk": true})",
            .behind = "slicer-bridge veth",
            .link = "tap1"},
    Subject{.name = "slicer-ipam",
            .keys = R"({"ipam": {"type": "slicer-ipam", "subnet": "192.0.2.0/24", "routes": [{"dst": "0.0.0.0/0"}]}})",
            .link = ""},
};

}  // namespace

std::span<const Subject> subjects() { return kSubjects; }

bool can_be_tried(const Subject& subject) {
  if (subject.firewalld && !has_firewalld()) return false;
  return *subject.needs == '\0' || run(words(subject.needs)).ok();
}

std::string label(const Subject& subject) {
  const std::string variant = subject.variant;
  return subject.name + (variant.empty() ? "" : " " + variant);
}

const Subject& subject(const std::string& wanted) {
  for (const Subject& each : kSubjects)
    if (label(each) == wanted) return each;
  give_up("no subject is called " + wanted);
}

}  // namespace slicer::test::conformance
