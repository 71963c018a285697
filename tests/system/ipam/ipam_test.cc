// slicer-ipam from outside: the real binary on a real file system.
#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/snapshot.h"

using namespace slicer::test;
namespace fs = std::filesystem;

namespace {

constexpr const char* kData = "/var/lib/cni/networks";

Json conf(const std::string& ipam) {
  Json json = Json::parse(R"({"cniVersion": "1.1.0", "name": "net", "type": "slicer-bridge"})");
  json["ipam"] = Json::parse(ipam);
  json["ipam"]["type"] = "slicer-ipam";
  return json;
}

const Json kConf = conf(R"({"subnet": "192.0.2.0/29"})");
const Json kLarge = conf(R"({"ranges": [[{"subnet": "10.0.0.0/16"}], [{"subnet": "2001:db8::/64"}]]})");

Answer call(const Json& json, const std::string& command, const std::string& id) {
  return call_plugin("slicer-ipam", json, {.command = command, .container_id = id, .netns = Host::netns()});
}

Answer must_work(Answer answer) {
  INFO(answer.text());
  REQUIRE(answer.ok());
  return answer;
}

std::string added(const Json& json, const std::string& id) {
  return address_of(must_work(call(json, "ADD", id)).json, 4);
}

void write_text(const fs::path& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string state() { return snapshot({.folders = {kData}}); }

/// A tmpfs of its own over a network's data directory.
class Mounted {
 public:
  explicit Mounted(const std::string& options) {
    fs::create_directories(kData);
    if (mount("tmpfs", kData, "tmpfs", 0, options.c_str()) != 0) give_up("mount " + std::string(kData));
  }
  Mounted(const Mounted&) = delete;
  Mounted& operator=(const Mounted&) = delete;
  ~Mounted() { (void)umount2(kData, MNT_DETACH); }
  static void read_only(bool on) {
    if (mount(nullptr, kData, nullptr, MS_REMOUNT | MS_BIND | (on ? MS_RDONLY : 0), nullptr) != 0) give_up("remount");
  }
};

/// Every process calls the plugin once, all at the same time; the answers by id.
std::map<std::string, Answer> all_at_once(const Json& json, const std::string& command, int count) {
  const std::string folder = "/run/answers";
  fs::create_directories(folder);
  std::vector<pid_t> children;
  for (int i = 0; i < count; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      const std::string id = "vm-" + std::to_string(i);
      const Answer answer = call(json, command, id);
      write_text(fs::path(folder) / id, answer.ok() ? answer.out : "failed: " + answer.text());
      _exit(0);
    }
    children.push_back(pid);
  }
  for (const pid_t pid : children) (void)waitpid(pid, nullptr, 0);
  std::map<std::string, Answer> answers;
  for (int i = 0; i < count; ++i) {
    const std::string id = "vm-" + std::to_string(i);
    Answer answer{.out = content_of(fs::path(folder) / id)};
    answer.exit_code = answer.out.starts_with("failed") ? 1 : 0;
    if (answer.ok() && !answer.out.empty()) answer.json = Json::parse(answer.out);
    answers[id] = answer;
  }
  return answers;
}

}  // namespace

TEST_CASE("ipam: 100 parallel ADDs give 100 addresses of each family, 100 parallel DELs give them back") {
  const Host host;
  std::set<std::string> given;
  for (const auto& [id, answer] : all_at_once(kLarge, "ADD", 100)) {
    INFO(id, ": ", answer.out);
    REQUIRE(answer.ok());
    given.insert(address_of(answer.json, 4));
    given.insert(address_of(answer.json, 6));
    CHECK(content_of(fs::path(kData) / "net" / ip_of(answer.json, 4)) == id + "\r\nvmtap0");
    CHECK(content_of(fs::path(kData) / "net" / ip_of(answer.json, 6)) == id + "\r\nvmtap0");
  }
  CHECK(given.size() == 200);
  for (const auto& [id, answer] : all_at_once(kLarge, "DEL", 100)) {
    INFO(id, ": ", answer.out);
    CHECK(answer.ok());
  }
  CHECK(state().find("file ") == std::string::npos);
}

TEST_CASE("ipam: what host-local wrote is respected, found, checked and released") {
  const Host host;
  fs::create_directories(fs::path(kData) / "net");
  const fs::path net = fs::path(kData) / "net";
  write_text(net / "lock", "");
  write_text(net / "last_reserved_ip.0", "192.0.2.3");
  write_text(net / "192.0.2.2", "old-1\r\nvmtap0");
  write_text(net / "192.0.2.3", "old-2\r\nvmtap0");
  CHECK(added(kConf, "new-1") == "192.0.2.4/29");
  CHECK(call(kConf, "ADD", "old-1").code() == 103);
  must_work(call(kConf, "CHECK", "old-2"));
  must_work(call(kConf, "DEL", "old-2"));
  CHECK_FALSE(fs::exists(net / "192.0.2.3"));
  CHECK(call(kConf, "CHECK", "old-2").code() == 105);
  CHECK(content_of(net / "192.0.2.4") == "new-1\r\nvmtap0");
  CHECK(content_of(net / "last_reserved_ip.0") == "192.0.2.4");
}

TEST_CASE("ipam: host-local may come and go between our calls") {
  const Host host;
  const fs::path net = fs::path(kData) / "net";
  CHECK(added(kConf, "ours-1") == "192.0.2.2/29");
  // It takes the next one, as it does under the lock that it shares with us: file, then last reserved address in place.
  write_text(net / "192.0.2.3", "theirs-1\r\nvmtap0");
  write_text(net / "last_reserved_ip.0", "192.0.2.3");
  CHECK(added(kConf, "ours-2") == "192.0.2.4/29");
  // It releases one of ours, and gives the address to another.
  fs::remove(net / "192.0.2.2");
  CHECK(call(kConf, "CHECK", "ours-1").code() == 105);
  write_text(net / "192.0.2.2", "theirs-2\r\nvmtap0");
  must_work(call(kConf, "DEL", "ours-1"));
  CHECK(content_of(net / "192.0.2.2") == "theirs-2\r\nvmtap0");
  must_work(call(kConf, "CHECK", "theirs-2"));
}

TEST_CASE("ipam: after a reboot our allocations are free again, another program's are not") {
  Host host;
  const fs::path net = fs::path(kData) / "net";
  CHECK(added(kConf, "a") == "192.0.2.2/29");
  CHECK(added(kConf, "b") == "192.0.2.3/29");
  write_text(net / "192.0.2.4", "theirs\r\nvmtap0");
  CHECK(added(kConf, "c") == "192.0.2.5/29");
  CHECK(added(kConf, "d") == "192.0.2.6/29");
  CHECK(call(kConf, "ADD", "e").code() == 104);
  host.reboot();
  const auto again = [&](const std::string& id) {
    return address_of(must_work(call_plugin("slicer-ipam", kConf, {.container_id = id, .netns = "/x"})).json, 4);
  };
  CHECK(again("a") == "192.0.2.2/29");  // the same owner may come again
  CHECK(again("f") == "192.0.2.3/29");
  CHECK(again("g") == "192.0.2.5/29");
  CHECK(content_of(net / "192.0.2.4") == "theirs\r\nvmtap0");
  CHECK(call_plugin("slicer-ipam", kConf, {.command = "CHECK", .container_id = "b", .netns = "/x"}).code() == 105);
}

TEST_CASE("ipam: an exhausted pool is code 104 for ADD and 50 for STATUS, and nothing is left of the ADD") {
  const Host host;
  const Json both = conf(R"({"ranges": [[{"subnet": "2001:db8::/64"}], [{"subnet": "192.0.2.0/29"}]]})");
  must_work(call(both, "STATUS", "x"));
  for (int i = 0; i < 5; ++i) must_work(call(both, "ADD", "vm-" + std::to_string(i)));
  const std::string before = state();
  const Answer full = call(both, "ADD", "one-more");
  CHECK(full.code() == 104);
  CHECK(full.msg() ==
        "allocate an address for 'one-more/vmtap0' in network 'net': no address is free in 192.0.2.1-192.0.2.6");
  CHECK(full.json["details"] == "remove attachments that are not needed, run GC, or enlarge the pool");
  CHECK(difference(before, state()) == "");
  CHECK(call(both, "STATUS", "x").code() == 50);
  must_work(call(both, "DEL", "vm-0"));
  must_work(call(both, "STATUS", "x"));
}

TEST_CASE("ipam: GC frees what the list lacks, of its own network only, no list frees nothing") {
  const Host host;
  Json other = kConf;
  other["name"] = "other";
  for (const char* id : {"a", "b"}) {
    must_work(call(kConf, "ADD", id));
    must_work(call(other, "ADD", id));
  }
  write_text(fs::path(kData) / "net" / "192.0.2.6", "kept for the printer");
  const std::string before = state();
  must_work(call(kConf, "GC", ""));
  CHECK(difference(before, state()) == "");
  Json gc = kConf;
  gc["cni.dev/valid-attachments"] = Json::parse(R"([{"containerID": "b", "ifname": "vmtap0"}])");
  must_work(call(gc, "GC", ""));
  CHECK(call(kConf, "CHECK", "a").code() == 105);
  must_work(call(kConf, "CHECK", "b"));
  must_work(call(other, "CHECK", "a"));
  CHECK(fs::exists(fs::path(kData) / "net" / "192.0.2.6"));
  gc["cni.dev/valid-attachments"] = Json::array();
  must_work(call(gc, "GC", ""));
  CHECK(call(kConf, "CHECK", "b").code() == 105);
}

TEST_CASE("ipam: DEL without namespace, twice, of an unknown owner, of a network that never was") {
  const Host host;
  must_work(call_plugin("slicer-ipam", kConf, {.command = "DEL"}));
  CHECK_FALSE(fs::exists(fs::path(kData)));  // DEL makes no folders
  must_work(call(kConf, "ADD", "vm-1"));
  must_work(call_plugin("slicer-ipam", kConf, {.command = "DEL", .container_id = "vm-1"}));
  must_work(call_plugin("slicer-ipam", kConf, {.command = "DEL", .container_id = "vm-1"}));
  // A configuration that lost its pool since the ADD is no reason to keep the address.
  must_work(call(kConf, "ADD", "vm-1"));
  must_work(call(conf("{}"), "DEL", "vm-1"));
  CHECK(call(kConf, "CHECK", "vm-1").code() == 105);
}

TEST_CASE("ipam: CHECK compares the result's addresses with the reservation") {
  const Host host;
  Json result = must_work(call(kConf, "ADD", "vm-1")).json;
  Json check = kConf;
  check["prevResult"] = result;
  must_work(call(check, "CHECK", "vm-1"));
  check["prevResult"]["ips"][0]["address"] = "192.0.2.6/29";
  const Answer wrong = call(check, "CHECK", "vm-1");
  CHECK(wrong.code() == 105);
  CHECK(wrong.msg() == "check address 192.0.2.6 of 'vm-1/vmtap0' in network 'net': not reserved for it");
  check["prevResult"]["ips"][0]["address"] = "203.0.113.6/29";  // another plugin's: none of our business
  must_work(call(check, "CHECK", "vm-1"));
}

TEST_CASE("ipam: a read-only data directory is a clear error that leaves nothing") {
  const Host host;
  const Mounted data("size=1m");
  must_work(call(kConf, "ADD", "vm-1"));
  const std::string before = state();
  Mounted::read_only(true);
  for (const char* command : {"ADD", "DEL", "CHECK"}) {
    const Answer answer = call(kConf, command, command == std::string("ADD") ? "vm-2" : "vm-1");
    INFO(command, ": ", answer.text());
    CHECK(answer.code() == 100);
    CHECK(answer.msg().find("Read-only file system (EROFS)") != std::string::npos);
    CHECK(answer.json["details"] == "check \"dataDir\", its mount and its free space");
  }
  CHECK(call(kConf, "STATUS", "x").code() == 50);
  CHECK(difference(before, state()) == "");
  Mounted::read_only(false);
  must_work(call(kConf, "CHECK", "vm-1"));
  CHECK(added(kConf, "vm-2") == "192.0.2.3/29");
}

TEST_CASE("ipam: a full disk is a clear error that leaves nothing, and DEL works on it") {
  const Host host;
  const Json large = conf(R"({"subnet": "10.0.0.0/16"})");
  const Mounted data("size=200k");
  int given = 0;
  Answer answer;
  std::string before;
  for (; given < 200; ++given) {
    before = state();
    answer = call(large, "ADD", "vm-" + std::to_string(given));
    if (!answer.ok()) break;
  }
  INFO(answer.text());
  REQUIRE(given > 0);
  CHECK(answer.code() == 100);
  CHECK(answer.msg().find("No space left on device (ENOSPC)") != std::string::npos);
  CHECK(difference(before, state()) == "");
  CHECK(call(large, "STATUS", "x").code() == 50);
  for (int i = 0; i < given; ++i) must_work(call(large, "DEL", "vm-" + std::to_string(i)));
  must_work(call(large, "ADD", "vm-1"));
}

TEST_CASE("ipam: an empty allocation file is free and logged, unless the host has a route or neighbour for it") {
  const Host host;
  const fs::path net = fs::path(kData) / "net";
  must_work(call(kConf, "STATUS", "x"));
  fs::create_directories(net);
  (void)must("ip link add sl0 type veth peer name sl1");
  (void)must("ip addr add 192.0.2.1/29 dev sl0");
  (void)must("ip link set sl0 up");
  (void)must("ip link set sl1 up");
  write_text(net / "192.0.2.2", "");
  write_text(net / "192.0.2.3", "");
  write_text(net / "192.0.2.4", std::string(7, '\0'));
  SUBCASE("nothing of it in the kernel") {
    const Answer answer = must_work(call(kConf, "ADD", "vm-1"));
    CHECK(address_of(answer.json, 4) == "192.0.2.2/29");
    CHECK(answer.err.find("192.0.2.3' is empty or garbage: removed, the address is free") != std::string::npos);
    CHECK(added(kConf, "vm-2") == "192.0.2.3/29");
    CHECK(added(kConf, "vm-3") == "192.0.2.4/29");
  }
  SUBCASE("a host route and a permanent neighbour") {
    (void)must("ip route add 192.0.2.2/32 dev sl0");
    (void)must("ip neigh add 192.0.2.3 lladdr 02:00:00:00:00:03 nud permanent dev sl0");
    const Answer answer = must_work(call(kConf, "ADD", "vm-1"));
    CHECK(address_of(answer.json, 4) == "192.0.2.4/29");
    CHECK(answer.err.find("192.0.2.2' is empty or garbage, but the host") != std::string::npos);
    CHECK(fs::exists(net / "192.0.2.2"));
    // The last ones come free when the host lets go of them.
    must_work(call(kConf, "ADD", "vm-2"));
    must_work(call(kConf, "ADD", "vm-3"));
    CHECK(call(kConf, "ADD", "vm-4").code() == 104);
    (void)must("ip route del 192.0.2.2/32 dev sl0");
    CHECK(added(kConf, "vm-4") == "192.0.2.2/29");
  }
}

TEST_CASE("ipam: blocks: one store for all networks of the host") {
  const Host host;
  const Json block = conf(R"({"block": 30, "subnet": "169.254.0.0/23"})");
  Json other = block;
  other["name"] = "other";
  const Json first = must_work(call(block, "ADD", "vm")).json;
  CHECK(first["ips"][0]["address"] == "169.254.0.2/30");
  CHECK(first["ips"][0]["gateway"] == "169.254.0.1");
  CHECK(added(other, "vm") == "169.254.0.6/30");  // the same container ID on another network, the same range
  Json gc = other;
  gc["cni.dev/valid-attachments"] = Json::array();
  must_work(call(gc, "GC", ""));
  CHECK(call(other, "CHECK", "vm").code() == 105);
  must_work(call(block, "CHECK", "vm"));
  must_work(call(block, "DEL", "vm"));
  CHECK(state().find("file ") == std::string::npos);
}

TEST_CASE("ipam: requested addresses by every way, and refusals") {
  const Host host;
  Json json = kConf;
  json["runtimeConfig"]["ips"] = Json::parse(R"(["192.0.2.5/29"])");
  CHECK(added(json, "a") == "192.0.2.5/29");
  CHECK(call(json, "ADD", "b").code() == 102);
  const Answer by_args =
      call_plugin("slicer-ipam", kConf, {.container_id = "c", .netns = "/x", .args = "IgnoreUnknown=1;IP=192.0.2.3"});
  CHECK(address_of(must_work(by_args).json, 4) == "192.0.2.3/29");
  json["runtimeConfig"]["ips"] = Json::parse(R"(["192.0.2.1"])");
  CHECK(call(json, "ADD", "d").code() == 7);
  json["runtimeConfig"]["ips"] = Json::parse(R"(["198.51.100.1"])");
  CHECK(call(json, "ADD", "d").code() == 7);
  CHECK(added(kConf, "d") == "192.0.2.4/29");
}

TEST_CASE("ipam: addresses beside a range are given to who asks for them, and to nobody else") {
  const Host host;
  const Json json = conf(R"({"subnet": "192.0.2.0/24", "range": "192.0.2.10-192.0.2.12",
                             "addresses": ["192.0.2.11", "192.0.2.30"]})");
  Json asking = json;
  asking["runtimeConfig"]["ips"] = Json::parse(R"(["192.0.2.30"])");
  CHECK(added(json, "a") == "192.0.2.10/24");
  CHECK(added(asking, "b") == "192.0.2.30/24");
  CHECK(added(json, "c") == "192.0.2.12/24");
  CHECK(call(json, "ADD", "d").code() == 104);
  CHECK(call(json, "STATUS", "x").code() == 50);
  asking["runtimeConfig"]["ips"] = Json::parse(R"(["192.0.2.11"])");
  CHECK(added(asking, "d") == "192.0.2.11/24");
  must_work(call(json, "DEL", "b"));
  must_work(call(json, "DEL", "a"));
  CHECK(added(json, "e") == "192.0.2.10/24");
}

TEST_CASE("ipam: the result has routes and name servers, no interfaces, in each version's shape") {
  const Host host;
  write_text("/run/resolv.conf", "nameserver 192.0.2.53\nsearch example.test\n");
  const Json json = conf(R"({"subnet": "192.0.2.0/29", "resolvConf": "/run/resolv.conf",
                             "routes": [{"dst": "0.0.0.0/0"}]})");
  CHECK(must_work(call(json, "ADD", "a")).json == Json::parse(R"({"cniVersion": "1.1.0",
          "ips": [{"address": "192.0.2.2/29", "gateway": "192.0.2.1"}], "routes": [{"dst": "0.0.0.0/0"}],
          "dns": {"nameservers": ["192.0.2.53"], "search": ["example.test"]}})"));
  const Json old = must_work(call(with(json, "cniVersion", "0.2.0"), "ADD", "b")).json;
  CHECK(old["ip4"]["ip"] == "192.0.2.3/29");
  Json missing = json;
  missing["ipam"]["resolvConf"] = "/nowhere";
  CHECK(call(missing, "ADD", "c").code() == 7);
}

TEST_CASE("ipam: a lost, torn or foreign index changes nothing") {
  const Host host;
  const fs::path index = fs::path(kData) / ".slicer" / "net" / ".index";
  CHECK(added(kConf, "a") == "192.0.2.2/29");
  fs::remove(index);
  CHECK(added(kConf, "b") == "192.0.2.3/29");
  fs::resize_file(index, 100);
  CHECK(added(kConf, "c") == "192.0.2.4/29");
  write_text(index, std::string(12408, '\xff'));
  CHECK(call(kConf, "ADD", "a").code() == 103);
}
