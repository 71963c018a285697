// Every form of the YAML that the documentation shows, unchanged, booted.
#include <doctest/doctest.h>

#include <filesystem>
#include <sstream>
#include <utility>

#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

// The tiny guest as the demo image, and the interfaces and the network that the files speak of.
struct FormHost : GroupHost {
  FormHost() {
    std::filesystem::create_directories("/var/lib/slicer/images/demo");
    std::filesystem::copy(Runner::kTinyKernel, "/var/lib/slicer/images/demo/vmlinux");
    must("ip link add eth1 type veth peer name eth1-peer");
    must("ip link set eth1 up");
    must("ip link set eth1-peer up");
    Runner::network("slicer", true);
  }
};

std::string first_group(const std::string& text) {
  const size_t at = text.find("name: ") + 6;
  return text.substr(at, text.find('\n', at) - at);
}

// A group without a count gets its VM by `vm new`, as `up` says.
void boot_form(const std::string& name) {
  CAPTURE(name);
  const std::string file = std::string(GROUPS_DATA) + "/good/" + name + ".yaml";
  const std::string group = first_group(contents(file));
  const Outcome up = Runner::run("up --detach " + file);
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  if (up.out.find("count is 0") != std::string::npos) {
    const Outcome made = Runner::run("vm new " + group);
    INFO(made.err);
    CHECK(made.out.starts_with(group + "-1 runs: "));
  }
  const std::set<std::string> names = vm_names();
  CHECK(running_vms() == names.size());
  CHECK(names.contains(group + "-1"));
  for (const std::string& vm : names) CHECK(Runner::says(vm, "TINY-READY"));
  CHECK(Runner::run("down " + file).ok());
  CHECK(vm_names().empty());
}

// What a YAML says: without comments, quotes, and how far lines are indented.
std::string said(const std::string& yaml) {
  std::istringstream lines(yaml);
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find('#'));
    std::erase(line, '"');
    line.erase(0, line.find_first_not_of(' '));
    line.erase(line.find_last_not_of(' ') + 1);
    if (!line.empty()) text += line + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("runner new: the command lines of the documentation print the YAML that it shows") {
  const Host host;
  for (const auto& [line, form] :
       {std::pair{"new vm --count=3 --cidr=192.168.137.0/24", "bridge"},
        std::pair{"new vm --count=3 --cidr=192.168.137.0/24 --range=192.168.137.20-192.168.137.80", "bridge-range"},
        std::pair{"new vm --net=cni", "cni"}, std::pair{"new sandbox --net=isolated --drop 192.168.1.0/24", "isolated"},
        std::pair{"new sandbox --net=isolated --isolated-range 169.254.100.0/22 --drop 192.168.1.0/24",
                  "isolated-explicit"},
        std::pair{"new lan --net=macvtap --count=1", "macvtap"},
        std::pair{"new lan --net=macvtap --parent=eth1 --count=1", "macvtap-parent"},
        std::pair{"new lan --net=macvtap --cidr=192.168.1.0/24 --count=1", "macvtap-gateway"},
        std::pair{"new lan --net=macvtap --cidr=192.168.1.0/24 --count=1 --range=192.168.1.100-192.168.1.200",
                  "macvtap-range"}}) {
    CAPTURE(line);
    const Outcome made = Runner::run(line);
    CHECK(made.ok());
    CHECK(said(made.out) == said(contents(std::string(GROUPS_DATA) + "/good/" + form + ".yaml")));
  }
}

TEST_CASE("runner up: the documented forms of a bridge group and of a CNI network boot") {
  const FormHost machine;
  for (const char* name : {"bridge", "bridge-range", "bridge-addresses", "cni"}) boot_form(name);
}

TEST_CASE("runner up: the documented forms of an isolated group boot") {
  const FormHost machine;
  for (const char* name : {"isolated", "isolated-explicit", "isolated-range", "isolated-second", "isolated-lists"})
    boot_form(name);
}

TEST_CASE("runner up: the documented forms of a macvtap group boot") {
  const FormHost machine;
  for (const char* name :
       {"macvtap", "macvtap-parent", "macvtap-gateway", "macvtap-range", "macvtap-addresses", "macvtap-both"})
    boot_form(name);
}

}  // namespace slicer::test
