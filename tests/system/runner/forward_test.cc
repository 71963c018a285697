// vm port-forward: the way to a guest by what the kernel says, and the relay.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <fstream>

#include "lib/addr/link_local.h"
#include "runner/forward/guest_way.h"
#include "runner/forward/relay.h"
#include "runner/process/child.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/macvtap/macvtap_support.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
using runner::ForwardSpec;
using runner::GuestWay;
using runner::Placement;
using runner::Relay;
using runner::VmRecord;

constexpr uint16_t kPort = 7000;

sockaddr_in loopback(uint16_t port) {
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return at;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 65536> chunk = {};
  for (ssize_t count = 0; (count = recv(fd, chunk.data(), chunk.size(), 0)) > 0;)
    text.append(chunk.data(), static_cast<size_t>(count));
  return text;
}

void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

/// In a namespace: reads a request to its end, and only then answers with all of it.
class PatientServer {
 public:
  explicit PatientServer(const std::string& netns) : socket_(listening(netns)), child_([this] { serve(); }) {}

 private:
  static UniqueFd listening(const std::string& netns) {
    UniqueFd fd;
    in_netns(netns, [&] { fd = UniqueFd(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
    sockaddr_in6 at = {};  // both families
    at.sin6_family = AF_INET6;
    at.sin6_port = htons(kPort);
    if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || listen(fd.get(), 16) != 0)
      give_up("listen in the guest");
    return fd;
  }
  void serve() const {
    (void)signal(SIGCHLD, SIG_IGN);  // nobody waits for them
    for (;;) {
      const UniqueFd client(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (fork() != 0) continue;
      send_all(client.get(), "you said " + read_all(client.get()));
      _exit(0);
    }
  }

  UniqueFd socket_;
  Background child_;
};

UniqueFd connect_to(uint16_t port) {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in to = loopback(port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) give_up("connect to the relay");
  return fd;
}

std::string ask(uint16_t port, const std::string& question) {
  const UniqueFd fd = connect_to(port);
  // From a child: the relay may hold the answer back until the question is through, and the other way round.
  const Background asking([&] {
    send_all(fd.get(), question);
    (void)shutdown(fd.get(), SHUT_WR);
  });
  return read_all(fd.get());
}

/// A namespace with a TAP-like end towards a guest.
struct Cable {
  Host host;
  Netns sandbox{"sandbox"};
  Netns guest{"guest"};
  Cable() {
    connect({.netns = sandbox.path(), .link = "tap0", .address = "192.0.2.1/24"},
            {.netns = guest.path(), .link = "eth0", .address = "192.0.2.2/24"});
  }
  [[nodiscard]] VmRecord record() const {
    VmRecord record;
    record.name = "demo-1";
    record.placement = Placement::kPrivate;
    record.netns = sandbox.path();
    record.tap = "tap0";
    record.addresses = {"192.0.2.2/24"};
    return record;
  }
};

/// In a namespace of process numbers: an ended child that nobody had to wait for, and its number given to another.
int outlive_ended_child() {
  (void)signal(SIGCHLD, SIG_IGN);
  pid_t stranger = -1;
  {
    auto pipe = runner::make_pipe();
    const auto child = runner::Child::start({.argv = {"/bin/cat"}, .in = pipe->read_end.get()});
    if (!child) return 2;
    pipe->write_end.reset();
    pollfd ended{.fd = child->pidfd(), .events = POLLIN, .revents = 0};
    if (poll(&ended, 1, 10000) != 1) return 3;
    std::ofstream("/proc/sys/kernel/ns_last_pid") << 1;
    stranger = fork();
    if (stranger == 0) {
      (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) (void)pause();
    }
    if (stranger != 2) return 4;
  }
  return kill(stranger, 0) == 0 ? 0 : 1;
}

}  // namespace

TEST_CASE("child: one that has ended is not killed, whoever has its number") {
  const pid_t outer = fork();
  if (outer == 0) {
    if (unshare(CLONE_NEWPID) != 0) _exit(5);
    const pid_t inner = fork();
    if (inner == 0) _exit(outlive_ended_child());
    int status = 0;
    (void)waitpid(inner, &status, 0);
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 6);
  }
  int status = 0;
  REQUIRE(waitpid(outer, &status, 0) == outer);
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("port forward: from the namespace that has a route to the guest by its TAP, else from the host") {
  const Cable cable;
  const auto inside = runner::find_way(cable.record());
  REQUIRE(inside);
  CHECK(inside->sandbox);
  CHECK(inside->text() == "192.0.2.2");

  (void)must("ip addr del 192.0.2.1/24 dev tap0", cable.sandbox.path());
  CHECK_FALSE(runner::find_way(cable.record()).value().sandbox);
  (void)must("ip link add other type veth peer name other-peer", cable.sandbox.path());
  (void)must("ip addr add 192.0.2.9/24 dev other", cable.sandbox.path());
  (void)must("ip link set other up", cable.sandbox.path());
  CHECK_FALSE(runner::find_way(cable.record()).value().sandbox);

  VmRecord on_host = cable.record();
  on_host.placement = Placement::kHost;
  CHECK_FALSE(runner::find_way(on_host).value().sandbox);
  on_host.addresses.clear();
  const auto unknown = runner::find_way(on_host);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().message == "reach VM 'demo-1': no address of it is known yet");
}

TEST_CASE("port forward: an address that was learned leads to the guest's own link and MAC, or nowhere") {
  const Host host;
  const Netns guest("guest");
  const Netns neighbour("neighbour");
  const Netns elsewhere("elsewhere");
  (void)must("ip link add br0 type bridge");
  (void)must("ip link set br0 up");
  (void)must("ip addr add 192.0.2.1/24 dev br0");
  connect({.link = "vmtap0"}, {.netns = guest.path(), .link = "eth0", .address = "192.0.2.7/24"});
  connect({.link = "vmtap1"}, {.netns = neighbour.path(), .link = "eth0", .address = "192.0.2.8/24"});
  connect({.link = "other", .address = "198.51.100.1/24"},
          {.netns = elsewhere.path(), .link = "eth0", .address = "198.51.100.2/24"});
  for (const char* port : {"vmtap0", "vmtap1"}) (void)must(std::string("ip link set ") + port + " master br0");
  (void)must("ip route add 203.0.113.0/24 via 192.0.2.8");
  const PatientServer at_guest(guest.path());
  const PatientServer at_neighbour(neighbour.path());

  VmRecord record;
  record.name = "demo-1";
  record.placement = Placement::kHost;
  record.tap = "vmtap0";
  record.mac = "02:00:5e:00:53:01";
  (void)must("ip link set eth0 address " + record.mac, guest.path());
  const auto lease = [&](const std::string& address) { record.lease = VmRecord::Lease{.address = address}; };
  // The host itself; elsewhere; behind a router on the VM's link; nowhere.
  for (const char* claimed : {"192.0.2.1/24", "127.0.0.1/8", "198.51.100.2/24", "203.0.113.9/24", "10.9.9.9/8"}) {
    CAPTURE(claimed);
    lease(claimed);
    const auto way = runner::find_way(record);
    REQUIRE_FALSE(way);
    CHECK(way.error().message.find("was learned from its LAN") != std::string::npos);
  }
  record.seen_addresses = {"2001:db8::7"};
  lease("198.51.100.2/24");
  CHECK_FALSE(runner::find_way(record));
  record.addresses = {"198.51.100.2/24"};  // the network's own word
  CHECK(runner::find_way(record).value().text() == "198.51.100.2");
  record.addresses.clear();

  Relay relay([&](const ForwardSpec& spec) -> Result<runner::Dialled> {
    return runner::begin_connection(TRY(runner::find_way(record)), spec.target_port);
  });
  const uint16_t port = relay.listen({.target_port = kPort}).value();
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  const auto answer = [&](const std::string& address) {
    lease(address);
    const Background running([&] { (void)relay.run({end.get()}); });
    return ask(port, "hello");
  };
  CHECK(answer("192.0.2.7/24") == "you said hello");
  CHECK(answer("192.0.2.8/24").empty());  // another VM of the bridge
}

TEST_CASE("port forward: the relay carries both ways, to the last word of each end") {
  const Cable cable;
  const PatientServer server(cable.guest.path());
  const GuestWay way = runner::find_way(cable.record()).value();
  Relay relay([&](const ForwardSpec& spec) { return runner::begin_connection(way, spec.target_port); });
  const uint16_t port = relay.listen({.target_port = kPort}).value();
  const uint16_t closed = relay.listen({.target_port = 7001}).value();
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  {
    const Background running([&] { (void)relay.run({end.get()}); });
    CHECK(ask(port, "hello") == "you said hello");
    const std::string much(size_t{3} << 20, 'x');
    CHECK((ask(port, much) == "you said " + much));  // not to be shown
    // One that waits holds up no other.
    const UniqueFd waiting = connect_to(port);
    CHECK(ask(port, "me too") == "you said me too");
    // A port that nobody listens on: an error, not an empty answer.
    const UniqueFd refused = connect_to(closed);
    char byte = 0;
    CHECK((recv(refused.get(), &byte, 1, 0) == -1 && errno == ECONNRESET));
    CHECK(ask(port, "still there") == "you said still there");
  }
  CHECK(relay.listen({.listen_port = port}).error().kind == Kind::kBusy);
  REQUIRE(eventfd_write(end.get(), 1) == 0);
  CHECK(relay.run({end.get()}));  // returns
}

TEST_CASE("port forward: a macvtap's guest by a link beside it, whoever else on the LAN says that he is it") {
  const Host host;
  const Surroundings around;
  if (!run(words("ip link add link lan0 name probe type macvtap")).ok()) SLICER_SKIP("no macvtap in this kernel");
  (void)must("ip link del probe");
  const macvtap::Vm vm(macvtap::static_conf());
  VmRecord record;
  record.name = vm.how.container_id;
  record.placement = Placement::kPrivate;
  record.netns = vm.box.path();
  record.tap = "tap0";
  record.mac = guest_entry(vm.result, record.name)["mac"];
  record.addresses = {"198.51.100.220/24"};
  const std::string own = addr::link_local_of(addr::parse_mac(record.mac).value()).text();
  (void)must("ip addr add " + own + "/64 dev lan0 nodad", around.machine.path());

  const PatientServer server(vm.guest.netns());
  Relay relay([&](const ForwardSpec& spec) -> Result<runner::Dialled> {
    return runner::begin_connection(TRY(runner::find_way(record)), spec.target_port);
  });
  const uint16_t port = relay.listen({.target_port = kPort}).value();
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  const Background running([&] { (void)relay.run({end.get()}); });
  for (int i = 0; i < 3; ++i) CHECK(ask(port, "hello") == "you said hello");
  CHECK(must("ip -6 neigh show dev slbeside", vm.box.path()).find(own + " lladdr " + record.mac + " PERMANENT") !=
        std::string::npos);
}

TEST_CASE("runner vm port-forward: says where it listens, and ends with the VM") {
  const Host host;
  const Runner runner;
  REQUIRE(Runner::start("demo-1").ok());
  std::string line = Runner::argv("")[0] + " vm port-forward demo-1 8080:22 [::1]:8080:127.0.0.1:80";
  line += " >/run/said 2>&1; echo exit $? >>/run/said";
  const Background forward({"sh", "-c", line}, "");
  const auto says = [](const std::string& text) {
    return eventually([&] { return contents("/run/said").find(text) != std::string::npos; }, 15s);
  };
  CHECK(says("127.0.0.1:8080 leads to port 22 of demo-1\n[::1]:8080 leads to port 80 of demo-1\n"));
  const Outcome second = Runner::run("vm port-forward demo-1 8080:22");
  CHECK(second.exit_code == 1);
  CHECK(second.err.find("listen on 127.0.0.1:8080: Address already in use (EADDRINUSE)") != std::string::npos);
  const Background json(
      {"sh", "-c", "exec " + Runner::argv("")[0] + " forward demo-1 --json 0:22 /run/x:80 >/run/json"}, "");
  REQUIRE(eventually([] { return contents("/run/json").ends_with("\n"); }, 15s));
  const Json listening = Json::parse(contents("/run/json"));
  REQUIRE(listening.size() == 2);
  CHECK(listening[0]["address"] == "127.0.0.1");
  CHECK(listening[0]["guestPort"] == 22);
  (void)connect_to(listening[0]["port"].get<uint16_t>());  // it is the port that listens
  CHECK(listening[1]["path"] == "/run/x");
  CHECK(Runner::run("vm rm --now demo-1").ok());
  CHECK(says("'demo-1' has ended\nexit 0\n"));
}

TEST_CASE("runner vm port-forward: what cannot be is an error before anything listens") {
  const Host host;
  const Runner runner;
  for (const auto& [line, message] : std::vector<std::pair<std::string, std::string>>{
           {"vm port-forward demo-1 22:22", "no VM 'demo-1'"},
           {"vm port-forward demo-1 22", "'22' is no port forward"},
           {"forward demo-1 22:192.0.2.9:22/udp", "\"192.0.2.9\" is not the guest itself"},
           {"forward demo-1 --stdio 22", "no VM 'demo-1'"}}) {
    const Outcome outcome = Runner::run(line);
    CHECK(outcome.exit_code == 1);
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find(message) != std::string::npos);
  }
  CHECK(Runner::run("vm port-forward demo-1").exit_code == 2);
  CHECK(Runner::run("vm port-forward demo-1 --stdio 22 22:22").exit_code == 2);
}

}  // namespace slicer::test
