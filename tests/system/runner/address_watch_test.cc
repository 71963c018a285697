// A VM's link as its supervisor watches it.
#include "runner/supervisor/address_watch.h"

#include <doctest/doctest.h>
#include <net/if.h>
#include <netpacket/packet.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "lib/net/link.h"
#include "lib/net/tap.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/macvtap/macvtap_support.h"
#include "tests/system/runner/runner_support.h"
#include "tests/unit/runner/lease/messages.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
namespace lease_text = runner::test;
using runner::AddressBook;
using runner::SideTask;

constexpr const char* kMac = "02:00:5e:00:53:01";

/// One turn of the supervisor's loop; whether there was something to read.
bool turn(SideTask& task, int limit_ms) {
  pollfd waiting{.fd = task.fd(), .events = POLLIN, .revents = 0};
  const bool readable = poll(&waiting, 1, limit_ms) == 1;
  if (readable) task.on_readable();
  if (SideTask::Clock::now() >= task.next_wakeup()) task.on_time();
  return readable;
}

/// With the checksum that its IPv4 header should have: bridges look at it.
Bytes sealed(Bytes frame) {
  uint32_t sum = 0;
  for (size_t i = 14; i < 34; i += 2) sum += static_cast<uint32_t>(frame[i] << 8 | frame[i + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~(sum + (sum >> 16));
  frame[24] = static_cast<uint8_t>(sum >> 8);
  frame[25] = static_cast<uint8_t>(sum);
  return frame;
}

/// A guest's own TAP and its watch.
struct Watched {
  Host host;
  std::optional<RawGuest> guest = {};
  std::vector<runner::VmRecord> told = {};
  std::vector<SideTask::Clock::time_point> times = {};
  int links_gone = 0;
  std::unique_ptr<SideTask> task = {};

  Watched() {
    net::RouteSocket session = net::RouteSocket::open().value();
    // The host itself says nothing on it.
    REQUIRE(net::create_tap(nullptr, session, {.name = "tap0", .no_ipv6_link_local = true}));
    guest.emplace(TapPlace{.tap = "tap0", .netns = Host::netns()});
    task = runner::watch_addresses(net::Netns::current().value(), net::get_link(session, "tap0").value(),
                                   addr::parse_mac(kMac).value(),
                                   {.on_change =
                                        [this](const AddressBook& book) {
                                          runner::VmRecord record = told.empty() ? runner::VmRecord{} : told.back();
                                          if (!runner::note_addresses(book, record)) return;
                                          told.push_back(record);
                                          times.push_back(SideTask::Clock::now());
                                        },
                                    .on_link_gone = [this] { ++links_gone; }})
               .value();
  }

  /// A neighbour advertisement for 2001:db8::N.
  void advertise(unsigned number) const {
    Bytes packet(64, 0);
    packet[0] = 0x60;
    packet[5] = 24;
    packet[6] = 58;
    packet[7] = 255;
    const auto own = ip6_bytes("2001:db8::" + std::to_string(number));
    std::copy(own.begin(), own.end(), packet.begin() + 8);
    packet[40] = 136;
    std::copy(own.begin(), own.end(), packet.begin() + 48);
    guest->send(ether_frame({.source_mac = kMac}, 0x86dd, packet));
  }
};

}  // namespace

TEST_CASE("address watch: what a guest uses is told at once, and told again only when it changes") {
  Watched watched;
  watched.advertise(7);
  REQUIRE(turn(*watched.task, 5000));
  REQUIRE(watched.told.size() == 1);
  CHECK(watched.told[0].seen_addresses == std::vector<std::string>{"2001:db8::7"});
  watched.advertise(7);
  REQUIRE(turn(*watched.task, 5000));
  CHECK(watched.told.size() == 1);
  watched.advertise(8);
  REQUIRE(eventually([&] {
    (void)turn(*watched.task, 10);
    return watched.told.size() == 2;
  }));
  CHECK(watched.times[1] - watched.times[0] >= 1s);  // each is a write to the state
  CHECK(watched.told[1].seen_addresses == std::vector<std::string>{"2001:db8::7", "2001:db8::8"});
}

TEST_CASE("address watch: a lease is told, and told again when it is over") {
  Watched watched;
  UniqueFd server(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  sockaddr_ll to = {};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex("tap0"));
  const Bytes question = lease_text::dhcp_frame({.type = runner::DhcpType::kRequest}, kMac, 67);
  const Bytes answer =
      lease_text::dhcp_frame({.given = "192.0.2.50", .options = {{51, {0, 0, 0, 2}}}}, "02:00:5e:00:53:99", 68);
  watched.guest->send(question);
  REQUIRE(turn(*watched.task, 5000));
  CHECK(watched.told.empty());
  REQUIRE(sendto(server.get(), answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) ==
          static_cast<ssize_t>(answer.size()));
  REQUIRE(turn(*watched.task, 5000));
  REQUIRE(watched.told.size() == 1);
  CHECK(watched.told[0].lease.value().address == "192.0.2.50/24");
  // Nothing more is heard: the task wakes up by itself.
  REQUIRE(eventually([&] {
    (void)turn(*watched.task, 10);
    return watched.told.size() == 2;
  }));
  CHECK_FALSE(watched.told[1].lease);
}

TEST_CASE("address watch: a link that goes down is waited for, one that goes away is told once") {
  Watched watched;
  (void)must("ip link set tap0 down");
  REQUIRE(turn(*watched.task, 5000));
  CHECK(watched.links_gone == 0);
  (void)must("ip link set tap0 up");
  watched.advertise(7);
  REQUIRE(turn(*watched.task, 5000));
  CHECK(watched.told.size() == 1);
  (void)must("ip link del tap0");
  REQUIRE(turn(*watched.task, 5000));
  CHECK(watched.links_gone == 1);
  CHECK_FALSE(turn(*watched.task, 50));
}

TEST_CASE("address watch: a lease belongs to the VM that asked for it, though the answer goes to all of its LAN") {
  const Host host;
  const Surroundings around;
  if (!run(words("ip link add link lan0 name probe type macvtap")).ok()) SLICER_SKIP("no macvtap in this kernel");
  (void)must("ip link del probe");
  struct OnLan {
    explicit OnLan(const std::string& id)
        : box(id),
          result(macvtap::add(macvtap::dhcp_conf(), macvtap::call_in("ADD", box, id))),
          mac(guest_entry(result, id)["mac"]),
          guest({.tap = "tap0", .netns = box.path()}) {
      const net::Netns ns = net::Netns::open(box.path()).value();
      net::RouteSocket session = net::RouteSocket::open_in(ns).value();
      task = runner::watch_addresses(ns, net::get_link(session, "tap0").value(), addr::parse_mac(mac).value(),
                                     {.on_change =
                                          [this](const AddressBook& book) {
                                            if (book.lease()) leases.push_back(book.lease()->address.ip.text());
                                          }})
                 .value();
    }
    Netns box;
    Json result;
    std::string mac;
    RawGuest guest;
    std::vector<std::string> leases = {};
    std::unique_ptr<SideTask> task = {};
  };
  OnLan one("vm-1");
  OnLan other("vm-2");
  const auto ask = [](const OnLan& vm) {
    vm.guest.send(lease_text::dhcp_frame({.type = runner::DhcpType::kRequest, .mac = vm.mac}, vm.mac, 67));
  };
  ask(one);
  ask(other);  // with the same number of its transaction
  const auto answer = [&](const OnLan& vm, const std::string& address) {
    in_netns(around.machine.path(), [&] {
      const UniqueFd server(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
      sockaddr_ll to = {};
      to.sll_family = AF_PACKET;
      to.sll_ifindex = static_cast<int>(if_nametoindex("lan0"));
      const Bytes frame = sealed(lease_text::dhcp_frame({.mac = vm.mac, .given = address}, "02:00:5e:00:53:99", 68));
      (void)sendto(server.get(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
    });
  };
  answer(one, "198.51.100.50");
  REQUIRE(eventually([&] {
    (void)turn(*one.task, 10);
    return one.leases.size() == 1;
  }));
  CHECK(one.leases[0] == "198.51.100.50");
  // The other has heard it, too: the answer to its own question comes behind it.
  answer(other, "198.51.100.51");
  REQUIRE(eventually([&] {
    (void)turn(*other.task, 10);
    return other.leases.size() >= 1;
  }));
  CHECK(other.leases == std::vector<std::string>{"198.51.100.51"});
  CHECK(one.leases.size() == 1);
}

TEST_CASE("address watch: the clock of leases goes on while the machine sleeps") {
  // A time namespace whose boot lies an hour back by that clock alone: so it looks after an hour's sleep.
  const Background child([] {
    if (unshare(CLONE_NEWTIME) != 0) (void)must("touch /run/no-time-namespaces");
    std::ofstream("/proc/self/timens_offsets") << "boottime 3600 0\n";
    const auto steady = std::chrono::steady_clock::now();
    const auto lease = runner::LeaseClock::now();
    const Background inside([&] {
      const bool steady_stood = std::chrono::steady_clock::now() - steady < 30min;
      const bool lease_went = runner::LeaseClock::now() - lease >= 1h;
      (void)must(steady_stood && lease_went ? "touch /run/went-on" : "touch /run/stood-still");
    });
    (void)pause();
  });
  REQUIRE(eventually(
      [] { return exists("/run/went-on") || exists("/run/stood-still") || exists("/run/no-time-namespaces"); }));
  if (exists("/run/no-time-namespaces")) SLICER_SKIP("this kernel has no time namespaces");
  CHECK(exists("/run/went-on"));
}

TEST_CASE("address watch: a guest that floods its link is heard in part, and does not keep the supervisor busy") {
  Watched watched;
  for (unsigned i = 1; i <= 450; ++i) watched.advertise(i);
  while (watched.task->fd() >= 0 && turn(*watched.task, 0)) continue;
  REQUIRE(watched.task->fd() == -1);  // not to be waited on
  CHECK(watched.told.size() <= 2);
  REQUIRE(watched.task->next_wakeup() != SideTask::Clock::time_point::max());
  REQUIRE(eventually([&] {
    (void)turn(*watched.task, 10);
    return watched.task->fd() >= 0;
  }));
}

}  // namespace slicer::test
