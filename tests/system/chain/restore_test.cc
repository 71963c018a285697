// slicer-run network reload without a name: what another program took from the packet filter comes back.

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

#include "tests/system/chain/operator.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer;
using namespace slicer::test;

namespace {

bool is_legacy() {
  const char* name = getenv("SLICER_BACKEND");
  return name != nullptr && std::string(name) == "iptables";
}

std::string missing_for_backend() {
  if (!is_legacy() || run({"unshare", "-n", "iptables-legacy", "-t", "mangle", "-S"}).ok()) return {};
  return "needs the program iptables-legacy, and its tables";
}

/// All rules of the host, in an order that does not tell who came first.
std::string rules() {
  std::string text = must("nft list ruleset");
  if (is_legacy())
    for (const std::string program : {"iptables-legacy-save", "ip6tables-legacy-save"}) text += must(program);
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);)
    if (line.find_first_of("#:*") != 0 && line != "COMMIT") lines.push_back(line);
  std::ranges::sort(lines);
  std::string sorted;
  for (const std::string& line : lines) sorted += line + "\n";
  return sorted;
}

void empty_packet_filter() {
  (void)must("nft flush ruleset");
  if (!is_legacy()) return;
  for (const std::string program : {"iptables-legacy", "ip6tables-legacy"})
    for (const std::string table : {"filter", "nat", "mangle"}) (void)must(program + " -t " + table + " -F");
}

Json isolated_list() {
  Json list = {{"cniVersion", "1.0.0"},
               {"name", "sandbox"},
               {"plugins",
                {{{"type", "slicer-isolated"}, {"range", "169.254.100.0/24"}},
                 {{"type", "slicer-firewall"}, {"allow", {"192.0.2.1"}}}}}};
  if (const char* backend = getenv("SLICER_BACKEND"); backend != nullptr)
    for (Json& plugin : list["plugins"]) plugin["backend"] = backend;
  return list;
}

/// Two bridges with lists, one VM of them with lists of its own; an isolated network that may reach an address of the
/// host.
struct Busy : Host {
  Busy() {
    (void)must("ip addr add 192.0.2.1/32 dev lo");
    Json one = network_list("one", "slicer0", "198.51.100.0/24");
    one["plugins"][1]["drop"] = {"203.0.113.0/24"};
    one["plugins"][1]["capabilities"] = {{"policy", true}};
    write_list("51-one.conflist", one);
    write_list("52-two.conflist", network_list("two", "slicer1", "203.0.113.0/24"));
    write_list("53-sandbox.conflist", isolated_list());
    add("one", attachment_of({.name = "one-1", .tap = "vmtap0", .marked = false}));
    chain::AttachmentConf own = attachment_of({.name = "one-2", .tap = "vmtap1", .marked = false});
    own.capability_args = {{"policy", {{"drop", {"203.0.113.9:80"}}}}};
    add("one", own);
    add("two", attachment_of({.name = "two-1", .tap = "vmtap2", .marked = false}));
    add("sandbox", {.container_id = "sandbox-1", .netns = box.path(), .ifname = "tap0"});
  }
  static void add(const std::string& network, const chain::AttachmentConf& attachment) {
    const auto list = chain::load_network("/etc/cni/net.d", network);
    if (!list) give_up(list.error().message);
    const auto result = runtime().add(*list, attachment);
    if (!result) give_up(result.error().message);
  }
  static std::string doctor() { return slicer_run({"doctor"}).out; }
  Netns box{"sandbox-box"};
};

/// stderr of one plugin's ADD that must work.
std::string add_and_listen(const std::string& plugin, const Json& conf, const Call& how) {
  const Answer answer = call_plugin(plugin, conf, how);
  if (!answer.ok()) give_up(plugin + ": " + answer.text());
  return answer.err;
}

/// The first plugin of a list, as a runtime calls it.
Json first_plugin(const Json& list) {
  Json conf = list["plugins"][0];
  conf["name"] = list["name"];
  conf["cniVersion"] = list["cniVersion"];
  return conf;
}

bool tells_of_loss(const std::string& err, const std::string& network) {
  return err.find("another program took rules of ours from the packet filter: those of network '" + network +
                  "' are back, and `slicer-run network reload` puts back those of all networks") != std::string::npos;
}

}  // namespace

TEST_CASE("network reload: the next ADD on any network tells of rules that another program took, and none else does") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Json bridge = first_plugin(network_list("one", "slicer0", "198.51.100.0/24"));
  const Json isolated = first_plugin(isolated_list());
  const auto on_bridge = [](const std::string& id, const std::string& tap) {
    return Call{.container_id = id, .netns = Host::netns(), .ifname = tap};
  };
  const auto in_box = [](const std::string& id, const Netns& box) {
    return Call{.container_id = id, .netns = box.path(), .ifname = "tap0"};
  };
  const Netns box[3] = {Netns("box-0"), Netns("box-1"), Netns("box-2")};
  // First ones, of a network and of the host, are told of nothing; nor is who finds all of it.
  CHECK(add_and_listen("slicer-bridge", bridge, on_bridge("one-1", "vmtap0")) == "");
  CHECK(add_and_listen("slicer-isolated", isolated, in_box("sandbox-1", box[0])) == "");
  CHECK(add_and_listen("slicer-bridge", bridge, on_bridge("one-2", "vmtap1")) == "");
  CHECK(add_and_listen("slicer-bridge", first_plugin(network_list("two", "slicer1", "203.0.113.0/24")),
                       on_bridge("two-1", "vmtap2")) == "");

  empty_packet_filter();
  SUBCASE("on the bridge") {
    CHECK(tells_of_loss(add_and_listen("slicer-bridge", bridge, on_bridge("one-3", "vmtap3")), "one"));
    CHECK(add_and_listen("slicer-bridge", bridge, on_bridge("one-4", "vmtap4")) == "");
  }
  SUBCASE("isolated") {
    CHECK(tells_of_loss(add_and_listen("slicer-isolated", isolated, in_box("sandbox-2", box[1])), "sandbox"));
    CHECK(add_and_listen("slicer-isolated", isolated, in_box("sandbox-3", box[2])) == "");
  }
  SUBCASE("on a network that is new") {
    CHECK(tells_of_loss(add_and_listen("slicer-bridge", first_plugin(network_list("new", "slicer2", "192.0.2.0/24")),
                                       on_bridge("new-1", "vmtap3")),
                        "new"));
  }
}

TEST_CASE("network reload: masquerade alone that another program took is told, too") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Json bridge = first_plugin(network_list("one", "slicer0", "198.51.100.0/24"));
  Call how{.container_id = "one-1", .netns = Host::netns(), .ifname = "vmtap0"};
  REQUIRE(add_and_listen("slicer-bridge", bridge, how) == "");
  (void)must(is_legacy() ? "iptables-legacy -t nat -F" : "nft flush chain inet slicer masquerade-one");
  how.container_id = "one-2";
  how.ifname = "vmtap1";
  CHECK(tells_of_loss(add_and_listen("slicer-bridge", bridge, how), "one"));
}

TEST_CASE("network reload: without a name all that another program took comes back, of every network") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Busy host;
  const std::string before = rules();
  const auto told = [](const std::string& network) { return "ok    rules            network '" + network + "': "; };
  for (const char* network : {"one", "two", "sandbox"}) CHECK(Busy::doctor().find(told(network)) != std::string::npos);
  empty_packet_filter();
  REQUIRE(rules() != before);
  const std::string examined = Busy::doctor();
  INFO(examined);
  for (const char* network : {"one", "two", "sandbox"}) CHECK(examined.find(told(network)) == std::string::npos);
  CHECK(examined.find("do: slicer-run network reload puts it back") != std::string::npos);

  const Outcome reload = slicer_run({"network", "reload"});
  CHECK(reload.ok());
  CHECK(reload.err == "");
  CHECK(reload.out ==
        "reloaded one-1 (vmtap0)\nreloaded one-2 (vmtap1)\nreloaded sandbox-1 (tap0)\nreloaded two-1 (vmtap2)\n");
  CHECK(difference(before, rules()) == "");
  for (const char* network : {"one", "two", "sandbox"}) CHECK(Busy::doctor().find(told(network)) != std::string::npos);
  // Once more: nothing is made twice.
  CHECK(slicer_run({"network", "reload"}).ok());
  CHECK(difference(before, rules()) == "");
}

TEST_CASE("network reload: a network whose list is gone gets what it was added with") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Busy host;
  const std::string before = rules();
  (void)must("rm /etc/cni/net.d/51-one.conflist");
  empty_packet_filter();
  const Outcome reload = slicer_run({"network", "reload"});
  CHECK(reload.ok());
  CHECK(reload.err.find("find network 'one' in '/etc/cni/net.d'") != std::string::npos);
  CHECK(difference(before, rules()) == "");
}

TEST_CASE("network reload: nobody is attached") {
  const Host host;
  const Outcome reload = slicer_run({"network", "reload"});
  CHECK(reload.ok());
  CHECK(reload.out == "nothing to reload\n");
}
