// Lists behind slicer-isolated: in the VM's own namespace, with what is closed there anyway.
#include <doctest/doctest.h>

#include <cstdio>

#include "tests/system/firewall/policy_support.h"
#include "tests/system/fixture/snapshot.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::firewall;

namespace {

class Sandboxed {
 public:
  Sandboxed() : vm(isolated::sandbox_conf()) {
    for (const std::string& netns : {std::string(Host::netns()), around.machine.path(), around.internet.path()})
      servers.push_back(std::make_unique<EchoServer>(netns, std::vector<uint16_t>{kPort, kOtherPort}));
  }
  [[nodiscard]] Answer firewall(const Json& lists, const std::string& command = "ADD") const {
    Json conf = {{"cniVersion", "1.1.0"}, {"name", "sandbox"}, {"type", "slicer-firewall"}, {"prevResult", vm.result}};
    if (is_legacy()) conf["backend"] = "iptables";
    conf.update(lists);
    Call how = vm.how;
    how.command = command;
    return call_plugin("slicer-firewall", conf, how);
  }
  void must_add(const Json& lists) const {
    const Answer answer = firewall(lists);
    INFO(answer.text());
    REQUIRE(answer.ok());
    const Answer checked = firewall(lists, "CHECK");
    INFO(checked.text());
    CHECK(checked.ok());
  }
  [[nodiscard]] bool opens(Protocol protocol, const std::string& ip, uint16_t port) const {
    return soon_reaches(vm.guest.netns(), {protocol, ip, port});
  }
  [[nodiscard]] bool closes(Protocol protocol, const std::string& ip, uint16_t port) const {
    return !reaches(vm.guest.netns(), {protocol, ip, port});
  }

  Surroundings around = {};
  isolated::Vm vm;
  std::vector<std::unique_ptr<EchoServer>> servers = {};
};

}  // namespace

TEST_CASE("isolated lists: drop and allow decide, the host stays closed") {
  const Host host;
  const Sandboxed box;
  box.must_add({{"drop", {"198.51.100.0/24"}}});
  CHECK(box.opens(Protocol::kTcp, Surroundings::kInternet, kPort));
  CHECK(box.closes(Protocol::kTcp, Surroundings::kLanMachine, kPort));
  CHECK(box.closes(Protocol::kTcp, Surroundings::kHost, kPort));
  box.must_add({{"allow", {"198.51.100.3:7777", "198.51.100.0/24:8888"}}});
  CHECK(box.opens(Protocol::kUdp, Surroundings::kLanMachine, kPort));
  CHECK(box.closes(Protocol::kIcmp, Surroundings::kLanMachine, 0));
  CHECK(box.closes(Protocol::kTcp, Surroundings::kHost, kOtherPort));  // a prefix opens nothing of the host
  CHECK(box.closes(Protocol::kTcp, Surroundings::kInternet, kPort));
  box.must_add(Json::object());
  CHECK(box.opens(Protocol::kTcp, Surroundings::kInternet, kPort));
}

TEST_CASE("isolated lists: an entry that names an address of the host opens just that, for just this VM") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Sandboxed box;
  const isolated::Vm other(isolated::sandbox_conf(), "vm-2");
  const std::string before = ruleset();
  box.must_add({{"allow", {std::string(Surroundings::kHost) + ":7777", "0.0.0.0/0"}}});
  CHECK(box.opens(Protocol::kTcp, Surroundings::kHost, kPort));
  CHECK(box.closes(Protocol::kTcp, Surroundings::kHost, kOtherPort));
  CHECK(box.closes(Protocol::kIcmp, Surroundings::kHost, 0));
  CHECK_FALSE(reaches(other.guest.netns(), {Protocol::kTcp, Surroundings::kHost, kPort}));
  CHECK(ruleset() != before);
  const Answer deleted = box.firewall(Json::object(), "DEL");
  INFO(deleted.text());
  CHECK(deleted.ok());
  INFO(must("nft list table inet slicer"));
  CHECK(box.closes(Protocol::kTcp, Surroundings::kHost, kPort));
}

TEST_CASE("isolated lists: an address that the host gains is no fault, and the next ADD closes it in the namespace") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Sandboxed box;
  const Json lists = {{"drop", {"203.0.113.0/24:80"}}, {"allow", {"203.0.113.9"}}};
  box.must_add(lists);
  const auto in_namespace = [&] {
    return is_legacy() ? must("iptables-legacy -t mangle -S", box.vm.box.path())
                       : must("nft list ruleset", box.vm.box.path());
  };
  (void)must("ip addr add 198.51.100.77/32 dev lan0");
  const Answer checked = box.firewall(lists, "CHECK");
  INFO(checked.text());
  CHECK(checked.ok());
  CHECK(in_namespace().find("198.51.100.77") == std::string::npos);
  box.must_add(lists);
  CHECK(in_namespace().find("198.51.100.77") != std::string::npos);
  // Other lists are a fault all the same, and so are rules that somebody took away.
  (void)must("ip addr del 198.51.100.77/32 dev lan0");
  CHECK(box.firewall({{"drop", {"203.0.113.0/24:81"}}, {"allow", {"203.0.113.9"}}}, "CHECK").code() == 105);
  (void)must(is_legacy() ? "iptables-legacy -t mangle -F slicer-vm-lists" : "nft flush chain inet slicer-vm refused",
             box.vm.box.path());
  CHECK(box.firewall(lists, "CHECK").code() == 105);
}

TEST_CASE("isolated lists: a reload closes an open connection") {
  const Host host;
  const Sandboxed box;
  const TcpConnection open(box.vm.guest.netns(), {Protocol::kTcp, Surroundings::kLanMachine, kPort});
  CHECK(open.answers());
  box.must_add({{"drop", {"198.51.100.3"}}});
  CHECK_FALSE(open.answers());
}

TEST_CASE("isolated lists: a host whose FORWARD drops is opened for all isolated links by one rule each way") {
  const Host host;
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Sandboxed box;
  (void)must(is_legacy() ? "iptables-legacy -P FORWARD DROP" : "iptables-nft -P FORWARD DROP");
  CHECK(box.closes(Protocol::kTcp, Surroundings::kInternet, kPort));
  box.must_add(Json::object());
  CHECK(box.opens(Protocol::kTcp, Surroundings::kInternet, kPort));
  if (is_legacy()) {
    const std::string rules = must("iptables-legacy -S");
    for (const char* rule : {" -o sls+ -m comment --comment \"slicer:sandbox\" -j ACCEPT\n",
                             " -i sls+ -m comment --comment \"slicer:sandbox\" -j ACCEPT\n"})
      CHECK(rules.find(rule) != std::string::npos);
    return;
  }
  CHECK(must("iptables-nft -S FORWARD") ==
        "-P FORWARD DROP\n"
        "-A FORWARD -o sls+ -m comment --comment \"slicer:sandbox\" -j ACCEPT\n"
        "-A FORWARD -i sls+ -m comment --comment \"slicer:sandbox\" -j ACCEPT\n");
}
