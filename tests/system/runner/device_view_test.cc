// Devices that a hypervisor opens by name, with a stand-in that opens as Firecracker does.
#include "runner/hypervisor/device_view.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <net/ethernet.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>

#include "lib/net/tap.h"
#include "runner/hypervisor/confined_process.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using runner::ConfinedProcess;
using runner::ShownDevice;

/// What the stand-in says, run as a hypervisor with these devices.
std::string open_by_name(const std::string& name, const net::Netns& sandbox, std::vector<ShownDevice> devices) {
  const std::string log = "/run/slicer/stand-in.log";
  (void)std::remove(log.c_str());
  const auto process = ConfinedProcess::start({.argv = {Runner::plugin_dir() + "/tun_opener", name},
                                               .log = log,
                                               .uid = Runner::kUid,
                                               .gid = Runner::kUid,
                                               .devices = std::move(devices),
                                               .netns = sandbox.fd()});
  if (!process) return process.error().message;
  (void)runner::wait_for_end(process->pidfd(), 10000);
  return contents(log);
}

ShownDevice device_of(const net::Netns& sandbox, const std::string& name) {
  net::RouteSocket session = net::RouteSocket::open_in(sandbox).value();
  return runner::tap_device(sandbox, net::get_link(session, name).value()).value();
}

/// Hears the stand-in's frame on a link.
class Listener {
 public:
  explicit Listener(const std::string& netns) {
    in_netns(netns, [&] { fd_ = UniqueFd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(0x88b5))); });
    const timeval limit{.tv_sec = 5, .tv_usec = 0};
    if (setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) != 0) give_up("listen");
  }
  [[nodiscard]] std::string heard() const {
    std::array<char, 2048> frame = {};
    const ssize_t count = recv(fd_.get(), frame.data(), frame.size(), 0);
    return count < ETHER_HDR_LEN ? "" : frame.data() + ETHER_HDR_LEN;
  }

 private:
  UniqueFd fd_;
};

/// What must be as before: the device's own node, the mounts, the folder.
std::string traces() {
  struct stat tun{};
  if (stat("/dev/net/tun", &tun) != 0) give_up("stat /dev/net/tun");
  return std::to_string(tun.st_rdev) + " " + std::to_string(tun.st_mode) + " " + std::to_string(tun.st_uid) + "\n" +
         contents("/proc/self/mountinfo") + run({"ls", "-R", "/dev/net"}).out;
}

const std::string kOpened = "opened as uid " + std::to_string(Runner::kUid) + "\n";

}  // namespace

TEST_CASE("runner: a hypervisor that opens /dev/net/tun by name gets its macvtap, and nobody else sees it") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  REQUIRE(mkdir("/run/slicer", 0755) == 0);
  if (!run(words("ip link add link lan0 name tap0 netns box type macvtap mode bridge")).ok())
    SLICER_SKIP("no macvtap in this kernel");
  (void)must("ip link set tap0 up", box.path());
  const net::Netns sandbox = net::Netns::open(box.path()).value();
  const std::string before = traces();
  const Listener machine(around.machine.path());

  CHECK(open_by_name("tap0", sandbox, {device_of(sandbox, "tap0")}) == kOpened);
  CHECK(machine.heard() == "opened by name");
  CHECK(open_by_name("any", sandbox, {device_of(sandbox, "tap0")}) == kOpened);  // as the driver has it
  CHECK(traces() == before);
  CHECK(run({"ls", "/run/slicer"}).out == "stand-in.log\n");
}

TEST_CASE("runner: a hypervisor that opens /dev/net/tun by name gets its TAP, in the VM's namespace") {
  const Host host;
  const Netns box("box");
  REQUIRE(mkdir("/run/slicer", 0755) == 0);
  const net::Netns sandbox = net::Netns::open(box.path()).value();
  net::RouteSocket session = net::RouteSocket::open_in(sandbox).value();
  REQUIRE(net::create_tap(&sandbox, session, {.name = "tap0", .owner = Runner::kUid}));
  const std::string before = traces();
  const Listener inside(box.path());

  CHECK(open_by_name("tap0", sandbox, {device_of(sandbox, "tap0")}) == kOpened);
  CHECK(inside.heard() == "opened by name");
  CHECK(open_by_name("tap1", sandbox, {device_of(sandbox, "tap0")}) == "TUNSETIFF: Operation not permitted\n");
  CHECK(traces() == before);
}

TEST_CASE("runner: a device that has no name to be shown at is an error") {
  const Host host;
  REQUIRE(mkdir("/run/slicer", 0755) == 0);
  const net::Netns own = net::Netns::current().value();
  const std::string said = open_by_name("tap0", own, {{.path = "/dev/net/none", .number = 1}});
  CHECK(said.ends_with("tun_opener': show a device at its name: No such file or directory (ENOENT)"));
  CHECK(run({"ls", "-A", "/run/slicer"}).out.empty());
}

}  // namespace slicer::test
