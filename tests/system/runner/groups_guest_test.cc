// Host groups with real guests.
#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>

#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

bool reaches(const std::string& vm, const std::string& to) { return Runner::guest_does(vm, "ping -c 1 -W 2 " + to); }

}  // namespace

TEST_CASE("guest groups: isolated guests reach the internet and nothing else that is closed") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Host host;
  const Surroundings surroundings;
  const Runner runner;
  Runner::install_demo_image();
  (void)must("iptables-nft -P FORWARD DROP");  // as Docker and ufw leave it
  const std::string lan_machine = std::string(Surroundings::kLanMachine) + "/32";
  const Outcome made = Runner::run("new sandbox --net=isolated --count=2 --drop " + lan_machine);
  REQUIRE(made.ok());
  const Outcome up = Runner::run("up --detach -", made.out);
  INFO(made.out << up.out << up.err);
  REQUIRE(up.ok());
  for (const char* name : {"sandbox-1", "sandbox-2"}) REQUIRE(Runner::says(name, "#"));
  const std::string other = Runner::vm("sandbox-2")["addresses"][0];

  CHECK(reaches("sandbox-1", Surroundings::kInternet));
  CHECK_FALSE(reaches("sandbox-1", Surroundings::kLanMachine));
  CHECK_FALSE(reaches("sandbox-1", Surroundings::kHost));
  CHECK_FALSE(reaches("sandbox-1", other.substr(0, other.find('/'))));
  CHECK(Json::parse(Runner::run("vm firewall sandbox-1 --json").out)["dropped"].get<int>() >= 2);

  const auto start = std::chrono::steady_clock::now();
  CHECK(Runner::run("down sandbox").ok());
  CHECK(std::chrono::steady_clock::now() - start < 14s);  // by their power buttons, not by the limit of 15 s
  CHECK(Runner::vm("sandbox-1") == nullptr);
  CHECK_FALSE(exists("/run/netns/slicer-sandbox-1"));
}

TEST_CASE("guest groups: twenty VMs of one group side by side, and nothing of them stays") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Host host;
  const Surroundings surroundings;
  const Runner runner;
  std::filesystem::create_directories("/var/lib/cni/results");
  Runner::install_demo_image();
  write_text(kGroupFile, groups_text("    - {name: farm, count: 20, ram_mb: 96, network: {mode: isolated}}\n"));
  const std::string before = group_leftovers();
  const std::string links = must("ip -o link");
  const Outcome up = Runner::run("up --detach " + std::string(kGroupFile));
  INFO(up.out << up.err);
  REQUIRE(up.ok());
  CHECK(up.out.find(" (20 of 20)\n") != std::string::npos);
  CHECK(running_vms() == 20);
  const auto all_have_booted = [] {
    return std::ranges::all_of(vm_names(), [](const std::string& name) {
      return contents("/run/slicer/" + name + "/console.log").find('#') != std::string::npos;
    });
  };
  CHECK(eventually(all_have_booted, 180s));
  const Outcome down = Runner::run("down farm");
  INFO(down.err);
  CHECK(down.ok());
  CHECK(down.out.find("(20 of 20)\n") != std::string::npos);
  CHECK(vm_names().empty());
  CHECK(group_leftovers() == before);
  CHECK(eventually([&] { return must("ip -o link") == links; }));
}

}  // namespace slicer::test
