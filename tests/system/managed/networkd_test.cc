// A real systemd-networkd with a file that takes every link, in the test's host: with the file that we ship VMs keep
// their network over its restarts; without it they lose it.
#include <doctest/doctest.h>
#include <pwd.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>

#include "tests/system/bridge/bridge_support.h"
#include "tests/system/isolated/isolated_support.h"

using namespace slicer::test;

namespace {

namespace fs = std::filesystem;

constexpr const char* kNetworkd = "/usr/lib/systemd/systemd-networkd";
constexpr const char* kFolder = "/etc/systemd/network";
constexpr const char* kStranger = "203.0.113.77/32";

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  if (!file.flush()) give_up("write " + path);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// networkd without a bus and without udevd: of the links it is told that udev has seen them.
class Networkd {
 public:
  Networkd() {
    for (const char* folder : {kFolder, "/usr/lib/systemd/network"})
      if (mount("tmpfs", folder, "tmpfs", 0, nullptr) != 0) give_up(std::string("mount ") + folder + strerror(errno));
    fs::create_directories("/run/udev/data");
    const passwd* user = getpwnam("systemd-network");
    for (const char* folder : {"", "/links", "/leases", "/lldp"}) {
      const std::string path = std::string("/run/systemd/netif") + folder;
      fs::create_directories(path);
      if (user == nullptr || chown(path.c_str(), user->pw_uid, user->pw_gid) != 0) give_up("chown " + path);
    }
    // The greedy file leaves the way out alone: the host's own configuration is not what is tested.
    write_text(std::string(kFolder) + "/05-lan.network", "[Match]\nName=lan0\n[Link]\nUnmanaged=yes\n");
    write_text(std::string(kFolder) + "/10-greedy.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n");
  }

  /// Ends the one that runs and starts another; comes back when it has taken the stranger's address away.
  void restart() {
    daemon_.reset();
    (void)must("ip addr replace " + std::string(kStranger) + " dev stranger0");
    for (const fs::directory_entry& link : fs::directory_iterator("/sys/class/net")) {
      std::string index = read_text(link.path() / "ifindex");
      index.erase(index.find_last_not_of('\n') + 1);
      write_text("/run/udev/data/n" + index, "I:1\n");
    }
    daemon_.emplace(std::vector<std::string>{kNetworkd}, std::string());
    REQUIRE(eventually([] { return must("ip -o addr show dev stranger0").find(kStranger) == std::string::npos; },
                       std::chrono::seconds(10)));
  }

 private:
  std::optional<Background> daemon_;
};

/// What it says of a link.
std::string admin_state(const std::string& link) {
  std::string index = read_text("/sys/class/net/" + link + "/ifindex");
  index.erase(index.find_last_not_of('\n') + 1);
  const std::string text = read_text("/run/systemd/netif/links/" + index);
  const size_t at = text.find("ADMIN_STATE=");
  return at == std::string::npos ? "" : text.substr(at + 12, text.find('\n', at) - at - 12);
}

/// One VM of each kind, and a link that is not ours.
struct World {
  World() {
    (void)must("ip link add stranger0 type bridge");
    (void)must("ip link set stranger0 up");
    fs::create_directories("/etc/cni/net.d");
    write_list("sandbox", isolated::sandbox_conf());
    write_list("demo", bridge::demo_conf());
    call = bridge::host_call("ADD", "bridged");
    result = bridge::add(bridge::demo_conf(), call);
    bridged = std::make_unique<Guest>(Guest::from_result(result, call, "bridged"));
    sandbox = std::make_unique<isolated::Vm>(isolated::sandbox_conf());
  }
  static void write_list(const std::string& name, Json conf) {
    Json list = {{"cniVersion", "1.1.0"}, {"name", name}, {"netns", name == "demo" ? "host" : ""}};
    if (name != "demo") list.erase("netns");
    conf.erase("cniVersion");
    conf.erase("name");
    list["plugins"] = {conf};
    write_text("/etc/cni/net.d/" + name + ".conflist", list.dump());
  }
  [[nodiscard]] std::string host_end() const { return sandbox->result["interfaces"][0]["name"]; }
  [[nodiscard]] std::vector<std::string> ours() const { return {"slicer0", call.ifname, host_end()}; }
  [[nodiscard]] bool isolated_reaches(int seconds) const {
    return pings(sandbox->guest.netns(), Surroundings::kInternet, seconds);
  }
  [[nodiscard]] bool bridged_reaches(int seconds) const {
    return pings(bridged->netns(), Surroundings::kInternet, seconds);
  }

  Surroundings around = {};
  Call call = {};
  Json result = {};
  std::unique_ptr<Guest> bridged;
  std::unique_ptr<isolated::Vm> sandbox;
};

/// doctor's findings about networkd.
std::string doctor() {
  const Outcome told = run({bin_dir() + "/slicer-run", "doctor"},
                           {.env = {{{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}, {"CNI_PATH", bin_dir()}}}});
  std::string lines;
  for (size_t at = 0; at < told.out.size();) {
    const size_t end = std::min(told.out.find('\n', at), told.out.size());
    const std::string line = told.out.substr(at, end - at);
    if (line.find(" networkd ") != std::string::npos) lines += line + "\n";
    at = end + 1;
  }
  return lines;
}

#define NEEDS_NETWORKD() \
  if (access(kNetworkd, X_OK) != 0) SLICER_SKIP("needs systemd-networkd (package systemd)")

}  // namespace

TEST_CASE("networkd: with the shipped file VMs keep their network over its restarts") {
  NEEDS_NETWORKD();
  const Host host;
  const World world;
  Networkd networkd;
  fs::copy_file(SLICER_HOST_FILES "/00-slicer.network", std::string(kFolder) + "/00-slicer.network");
  for (int start = 0; start < 2; ++start) {
    networkd.restart();
    for (const std::string& link : world.ours()) {
      CAPTURE(link);
      CHECK(eventually([&] { return admin_state(link) == "unmanaged"; }));
    }
    CHECK(world.isolated_reaches(5));
    CHECK(world.bridged_reaches(5));
  }
  CHECK(must("ip -o link show " + world.call.ifname).find(" master slicer0 ") != std::string::npos);
  CHECK(doctor() == "ok    networkd         systemd-networkd leaves our links alone\n");
}

TEST_CASE("networkd: without it they lose routes, addresses and the bridge, and doctor says so before") {
  NEEDS_NETWORKD();
  const Host host;
  const World world;
  Networkd networkd;
  REQUIRE(world.isolated_reaches(5));
  REQUIRE(world.bridged_reaches(5));
  write_text("/run/systemd/netif/state", "");
  const std::string told = doctor();
  for (const char* what : {"takes sl* of network 'sandbox' over, by '/etc/systemd/network/10-greedy.network'",
                           "takes slicer0 of network 'demo' over", "takes vmtap* of network 'demo' over"})
    CHECK_MESSAGE(told.find(what) != std::string::npos, told);
  networkd.restart();
  CHECK(eventually([&] { return must("ip route show dev " + world.host_end()).empty(); }));
  CHECK(eventually([&] { return must("ip -4 -o addr show dev slicer0").empty(); }));
  CHECK(eventually([&] { return must("ip -o link show " + world.call.ifname).find(" master ") == std::string::npos; }));
  CHECK_FALSE(world.isolated_reaches(1));
  CHECK_FALSE(world.bridged_reaches(1));
}
