// Which blocks are given: never one that somebody uses.
#include <doctest/doctest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;
using namespace slicer::test::isolated;

namespace {

/// Namespaces that nothing is started in.
std::vector<std::unique_ptr<Netns>> boxes(int count) {
  std::vector<std::unique_ptr<Netns>> made;
  for (int i = 0; i < count; ++i) made.push_back(std::make_unique<Netns>("box-" + std::to_string(i)));
  return made;
}

std::string given(const Json& conf, const Netns& box, const std::string& id) {
  return ip_of(add(conf, call_in("ADD", box, id)), 4);
}

/// An IPAM plugin that gives this one address and writes down how it is called.
void write_ipam(const std::string& address) {
  std::filesystem::create_directories("/run/plugins");
  std::ofstream("/run/plugins/calls").flush();
  std::ofstream("/run/plugins/given") << "#!/bin/sh\ncat > /dev/null\necho $CNI_COMMAND >> /run/plugins/calls\n"
                                      << "[ $CNI_COMMAND != ADD ] || echo '"
                                      << Json{{"cniVersion", "1.1.0"}, {"ips", {{{"address", address}}}}}.dump()
                                      << "'\n";
  std::filesystem::permissions("/run/plugins/given", std::filesystem::perms::owner_all);
}

std::string masquerade_rules() {
  return is_legacy() ? must("iptables-legacy -t nat -S") : must("nft list chain inet slicer masquerade-sandbox");
}

}  // namespace

TEST_CASE("isolated blocks: those that the host uses are skipped, one by one") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(3);
  (void)must("ip link add up0 type bridge");
  (void)must("ip link set up0 up");
  const Json conf = with(sandbox_conf(), "range", "169.254.100.0/26");  // 16 blocks
  (void)must("ip addr add 169.254.100.1/32 dev up0");                   // block 0: the host's own address
  (void)must("ip route add 169.254.100.7/32 dev up0");                  // block 1: a route to its broadcast address
  (void)must("ip route add 169.254.100.8/29 dev up0");                  // blocks 2 and 3
  (void)must("ip route add 169.254.0.0/16 dev up0 scope link metric 1003");  // RHEL's: says nothing
  CHECK(given(conf, *box[0], "vm-0") == "169.254.100.18");
  CHECK(given(conf, *box[1], "vm-1") == "169.254.100.22");
  SUBCASE("a route to the whole range, or more of it than that") {
    (void)must("ip route add 169.254.100.0/26 dev up0");
    const Answer answer = call(conf, call_in("ADD", *box[2], "vm-2"));
    INFO(answer.text());
    CHECK_FALSE(answer.ok());
    CHECK(answer.msg().find("169.254.100.0/26") != std::string::npos);
    (void)must("ip route del 169.254.100.0/26 dev up0");
    CHECK(call(conf, call_in("ADD", *box[2], "vm-2")).ok());
  }
  for (const std::string type : {"blackhole", "unreachable", "prohibit"}) {
    SUBCASE(("a route of type " + type + " to the whole range").c_str()) {
      (void)must("ip route add " + type + " 169.254.100.0/26");
      CHECK_FALSE(call(conf, call_in("ADD", *box[2], "vm-2")).ok());
      (void)must("ip route del " + type + " 169.254.100.0/26");
      CHECK(given(conf, *box[2], "vm-2") == "169.254.100.26");
    }
    SUBCASE(("a route of type " + type + " to one block, and one that is shorter than the range").c_str()) {
      (void)must("ip route add " + type + " 169.254.100.24/30");
      (void)must("ip route add " + type + " 169.254.0.0/16 metric 9");
      CHECK(given(conf, *box[2], "vm-2") == "169.254.100.30");
    }
  }
  SUBCASE("a shorter route says nothing") {
    (void)must("ip route add 169.254.100.0/24 dev up0");
    CHECK(given(conf, *box[2], "vm-2") == "169.254.100.26");
  }
}

TEST_CASE("isolated blocks: one that was given back comes again last, whatever other networks do meanwhile") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(4);
  const Json one = with(sandbox_conf(), "range", "169.254.100.0/24");
  const Json other = with(sandbox_conf("other"), "range", "169.254.104.0/24");
  CHECK(given(one, *box[0], "vm-0") == "169.254.100.2");
  CHECK(given(one, *box[1], "vm-1") == "169.254.100.6");
  CHECK(given(other, *box[2], "vm-2") == "169.254.104.2");
  del(one, call_in("DEL", *box[0], "vm-0"));
  CHECK(given(one, *box[0], "vm-3") == "169.254.100.10");
  del(other, call_in("DEL", *box[2], "vm-2"));
  CHECK(given(other, *box[2], "vm-4") == "169.254.104.6");
}

TEST_CASE("isolated blocks: a skip is paid once") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(2);
  (void)must("ip link add up0 type bridge");
  (void)must("ip link set up0 up");
  (void)must("ip route add 169.254.100.0/24 dev up0");  // 64 blocks
  const Json conf = sandbox_conf();
  const auto questions = [&](const Netns& netns, const std::string& id) {
    // Every question to the routing table is one sendmsg() of ours.
    const Call how = call_in("ADD", netns, id);
    const Outcome traced =
        run({"strace", "-f", "-e", "trace=sendmsg,sendto", "-o", "/run/trace", bin_dir() + "/" + kPlugin},
            {.in = conf.dump(), .env = cni_environment(how)});
    if (traced.exit_code == 127) return -1;
    if (!traced.ok()) give_up(traced.out + traced.err);
    return std::stoi(run({"grep", "-c", "send", "/run/trace"}).out);
  };
  const int first = questions(*box[0], "vm-0");
  if (first < 0) SLICER_SKIP("needs the program strace");
  const int second = questions(*box[1], "vm-1");
  CAPTURE(first);
  CAPTURE(second);
  CHECK(first > second + 60);
}

TEST_CASE("isolated blocks: well-known addresses are never given") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(3);
  CHECK(given(with(sandbox_conf(), "range", "169.254.1.0/29"), *box[0], "vm-0") == "169.254.1.6");
  CHECK(given(with(sandbox_conf("two"), "range", "169.254.169.248/29"), *box[1], "vm-1") == "169.254.169.250");
  CHECK_FALSE(call(with(sandbox_conf("two"), "range", "169.254.169.248/29"), call_in("ADD", *box[2], "vm-2")).ok());
}

TEST_CASE("isolated blocks: an explicit range that is full says so, a network without one moves on") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(3);
  const Json conf = with(sandbox_conf(), "range", "192.0.2.4/30");
  CHECK(given(conf, *box[0], "vm-0") == "192.0.2.6");
  const Answer full = call(conf, call_in("ADD", *box[1], "vm-1"));
  INFO(full.text());
  CHECK_FALSE(full.ok());
  CHECK(full.msg().find("192.0.2.4/30") != std::string::npos);
  const Answer status = call(conf, {.command = "STATUS"});
  CHECK(status.code() == 50);

  const Json free = with(sandbox_conf(), "range", nullptr);  // "sandbox": 169.254.248.0/22, then 169.254.4.0/22
  CHECK(given(free, *box[1], "vm-1") == "169.254.248.2");
  (void)must("ip link add up0 type bridge");
  (void)must("ip link set up0 up");
  (void)must("ip route add 169.254.248.0/22 dev up0");
  CHECK(given(free, *box[2], "vm-2") == "169.254.4.2");
  CHECK(call(free, {.command = "STATUS"}).ok());
}

TEST_CASE("isolated blocks: overlapping ranges of other networks and other data directories share no block") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(6);
  std::set<std::string> seen;
  for (int i = 0; i < 6; ++i) {
    Json conf =
        with(sandbox_conf("net-" + std::to_string(i)), "range", i % 2 == 0 ? "169.254.100.0/22" : "169.254.100.0/24");
    if (i >= 2) conf["ipam"] = {{"type", "slicer-ipam"}, {"dataDir", "/var/lib/cni/data-" + std::to_string(i / 2)}};
    CHECK(seen.insert(given(conf, *box[static_cast<size_t>(i)], "vm")).second);
  }
  CHECK(seen.size() == 6);
}

TEST_CASE("isolated blocks: sixteen ADDs at once, of two data directories, then sixteen DELs") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(16);
  (void)settled_snapshot(sandbox_conf(), call_in("ADD", *box[0]));
  const std::string before = snapshot();
  const auto at_once = [&](const std::string& command) {
    std::vector<std::unique_ptr<Background>> running;
    for (size_t i = 0; i < box.size(); ++i) {
      running.push_back(std::make_unique<Background>([&, i] {
        Json conf = sandbox_conf();
        if (i % 2 == 1) conf["ipam"] = {{"type", "slicer-ipam"}, {"dataDir", "/var/lib/cni/other"}};
        const Answer answer = call(conf, call_in(command, *box[i], "vm-" + std::to_string(i)));
        (void)run({"touch", "/run/" + command + "-" + std::to_string(i) + (answer.ok() ? "-ok" : "-failed")});
      }));
    }
    const bool ended = eventually([&] { return run({"sh", "-c", "ls /run/" + command + "-* | wc -l"}).out == "16\n"; },
                                  std::chrono::seconds(60));
    CHECK(ended);
    CHECK(run({"sh", "-c", "ls /run/" + command + "-*-ok | wc -l"}).out == "16\n");
    (void)run({"sh", "-c", "rm -f /run/" + command + "-*"});
  };
  at_once("ADD");
  std::set<std::string> addresses;
  for (const auto& each : box) addresses.insert(must("ip -4 -o addr show dev tap0", each->path()));
  CHECK(addresses.size() == 16);
  at_once("DEL");
  CHECK(difference(before, snapshot()) == "");
}

TEST_CASE("isolated blocks: a restarted VM gets the address it asks for, or is told that it is in use") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const auto box = boxes(3);
  Call how = call_in("ADD", *box[0], "vm-0");
  how.args = "IP=169.254.100.42";
  CHECK(ip_of(add(sandbox_conf(), how), 4) == "169.254.100.42");
  how = call_in("ADD", *box[1], "vm-1");
  how.args = "IP=169.254.100.42";
  CHECK_FALSE(call(sandbox_conf(), how).ok());
  how = call_in("ADD", *box[2], "vm-2");
  how.args = "IP=169.254.103.254";
  CHECK(ip_of(add(with(sandbox_conf(), "range", "169.254.100.0/22"), how), 4) == "169.254.103.254");
}

TEST_CASE("isolated blocks: another IPAM's block with a well-known address is refused, and given back") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Netns box("box");
  Json conf = sandbox_conf();
  conf.erase("range");
  conf["ipam"] = {{"type", "given"}};
  Call how = call_in("ADD", box);
  how.extra["CNI_PATH"] = "/run/plugins";
  for (const std::string address : {"169.254.169.254/30", "169.254.169.253/30", "169.254.1.2/30"}) {
    CAPTURE(address);
    write_ipam(address);
    const Answer answer = call(conf, how);
    INFO(answer.text());
    CHECK(answer.code() == 7);
    CHECK(answer.msg().find("\"ipam\": gave '" + address + "'") != std::string::npos);
    CHECK(answer.msg().find(address.starts_with("169.254.1.") ? "169.254.1.1" : "169.254.169.254") !=
          std::string::npos);
    CHECK(must("cat /run/plugins/calls") == "ADD\nDEL\n");
    CHECK(must("ip -o link show type veth") == "");
  }
  write_ipam("192.0.2.2/30");
  CHECK(call(conf, how).ok());
}

TEST_CASE("isolated blocks: VMs with another IPAM's blocks share one masquerade rule") {
  if (const std::string missing = missing_for_backend(); !missing.empty()) SLICER_SKIP(missing);
  const Host host;
  const Surroundings around;
  Json conf = sandbox_conf();
  conf.erase("range");
  conf["ipam"] = {{"type", "given"}};
  const auto box = boxes(2);
  std::string after_first;
  for (size_t i = 0; i < box.size(); ++i) {
    const std::string id = "vm-" + std::to_string(i);
    write_ipam(i == 0 ? "192.0.2.2/30" : "10.9.8.6/30");
    Call how = call_in("ADD", *box[i], id);
    how.extra["CNI_PATH"] = "/run/plugins";
    const Json result = add(conf, how);
    const Guest guest(Guest::from_result(result, how, id));
    CHECK(pings(guest.netns(), Surroundings::kInternet));
    how.command = "CHECK";
    CHECK(call(with(conf, "prevResult", result), how).ok());
    if (i == 0) after_first = masquerade_rules();
    CHECK(masquerade_rules() == after_first);
  }
  CHECK(after_first.find("sls") != std::string::npos);
  CHECK(after_first.find("192.0.2.") == std::string::npos);
}
