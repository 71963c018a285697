// Watching a guest's link, and the link beside a guest's macvtap.
#include <poll.h>
#include <unistd.h>

#include <array>

#include "lib/net/address.h"
#include "lib/net/frame_watch.h"
#include "lib/net/link.h"
#include "lib/net/macvlan_sibling.h"
#include "lib/net/tap.h"
#include "tests/system/fixture/guest.h"
#include "tests/system/fixture/host.h"
#include "tests/system/net/helpers.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
using net::Link;
using net::RouteSocket;

/// The next frame that the watch hands over within ten seconds; none: nothing came.
std::optional<net::WatchedFrame> next(const UniqueFd& watch, std::span<uint8_t> buffer) {
  pollfd waiting{.fd = watch.get(), .events = POLLIN, .revents = 0};
  if (poll(&waiting, 1, 10'000) != 1) return std::nullopt;
  return got(net::read_frame(watch.get(), buffer));
}

/// The next one that is not the host's own solicitation: for its link-local address it asks neighbours, and then
/// routers, within two random seconds of the link's coming up (RFC 4861 and 4862).
std::optional<net::WatchedFrame> next_of_test(const UniqueFd& watch, std::span<uint8_t> buffer) {
  const auto solicitation = [&](const net::WatchedFrame& frame) {
    return frame.outgoing && frame.length > 14 + 40 && buffer[12] == 0x86 && buffer[14 + 6] == 58;
  };
  auto frame = next(watch, buffer);
  while (frame && solicitation(*frame)) frame = next(watch, buffer);
  return frame;
}

bool carries(std::span<const uint8_t> frame, std::string_view text) {
  return std::string_view(reinterpret_cast<const char*>(frame.data()), frame.size()).find(text) !=
         std::string_view::npos;
}

const Ends kFromGuest = {.source_mac = "02:00:5e:00:53:01", .source_ip = "192.0.2.2", .target_ip = "192.0.2.1"};

Link macvtap_of(const Netns& box) {
  RouteSocket session = got(RouteSocket::open_in(got(net::Netns::open(box.path()))));
  return got(net::get_link(session, "tap0"));
}

}  // namespace

TEST_CASE("frame watch: DHCP and neighbour discovery of one link, each with its direction, and nothing else") {
  const Host host;
  const net::Netns own = got(net::Netns::current());
  RouteSocket session = got(RouteSocket::open());
  const int tap = got(net::create_tap(nullptr, session, {.name = "tap0"}));
  (void)must("ip addr add 192.0.2.1/24 dev tap0");
  const RawGuest guest({.tap = "tap0", .netns = Host::netns()});
  guest.send(udp_frame(kFromGuest, 67, "too early"));
  const UniqueFd watch = got(net::watch_address_frames(own, tap));

  guest.send(udp_frame(kFromGuest, 53, "no DHCP"));
  guest.send(arp_request(kFromGuest));
  guest.send(udp_frame(kFromGuest, 67, "a question"));
  std::array<uint8_t, 2048> buffer = {};
  auto frame = next_of_test(watch, buffer);
  REQUIRE(frame);
  CHECK(carries(std::span(buffer).first(frame->length), "a question"));
  CHECK_FALSE(frame->outgoing);

  (void)must("ip neigh replace 192.0.2.2 lladdr 02:00:5e:00:53:01 dev tap0");
  (void)run({"bash", "-c", "echo no DHCP >/dev/udp/192.0.2.2/69; echo an answer >/dev/udp/192.0.2.2/68"});
  frame = next_of_test(watch, buffer);
  REQUIRE(frame);
  CHECK(carries(std::span(buffer).first(frame->length), "an answer"));
  CHECK(frame->outgoing);

  // A neighbour advertisement: version 6, next header 58, hop limit 255, type 136.
  Bytes advertisement(64, 0);
  advertisement[0] = 0x60;
  advertisement[6] = 58;
  advertisement[7] = 255;
  advertisement[40] = 136;
  guest.send(ether_frame(kFromGuest, 0x86dd, advertisement));
  frame = next_of_test(watch, buffer);
  REQUIRE(frame);
  CHECK(buffer[14 + 40] == 136);

  // The link goes down, and away: each is told once, and nothing wakes up for again and again.
  const auto told_down = [&] {
    do frame = next(watch, buffer);
    while (frame && !frame->down);
    return frame.has_value();
  };
  (void)must("ip link set tap0 down");
  CHECK(told_down());
  (void)must("ip link set tap0 up");
  REQUIRE(net::delete_link(session, tap));
  CHECK(told_down());
  pollfd waiting{.fd = watch.get(), .events = POLLIN, .revents = 0};
  CHECK(poll(&waiting, 1, 50) == 0);
}

TEST_CASE("macvlan sibling: one, with a link-local address and no other, on the macvtap's parent") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  if (!run(words("ip link add link lan0 name tap0 netns box type macvtap mode bridge")).ok())
    SLICER_SKIP("no macvtap in this kernel");
  (void)must("ip link set tap0 group 77", box.path());
  const net::Netns ns = got(net::Netns::open(box.path()));
  RouteSocket session = got(RouteSocket::open_in(ns));
  const int index = got(net::ensure_macvlan_sibling(session, ns, macvtap_of(box)));
  CHECK(got(net::ensure_macvlan_sibling(session, ns, macvtap_of(box))) == index);

  const Link link = got(net::get_link(session, index));
  CHECK(link.kind == "macvlan");
  CHECK(link.up);
  CHECK(link.group == 77);
  CHECK(link.peer_index == macvtap_of(box).peer_index);
  const auto addresses = got(net::list_addresses(session, index, addr::Family::kIpv6));
  REQUIRE(addresses.size() == 1);
  CHECK(addresses[0].link_local);
  CHECK_FALSE(addresses[0].tentative);
  CHECK(got(net::list_addresses(session, index, addr::Family::kIpv4)).empty());
  for (const char* key : {"accept_ra", "autoconf", "router_solicitations", "accept_dad"})
    CHECK(must("cat /proc/sys/net/ipv6/conf/" + link.name + "/" + key, box.path()) == "0\n");
  CHECK(pings(box.path(), "fe80::1%" + link.name, 1) == false);
  CHECK(run(words("ping -c 1 -W 5 ff02::1%" + link.name), {.netns = box.path()}).ok());  // the LAN answers

  // One that was left half made is finished.
  (void)must("ip link set " + link.name + " down", box.path());
  CHECK(got(net::ensure_macvlan_sibling(session, ns, macvtap_of(box))) == index);
  CHECK(got(net::get_link(session, index)).up);
}

TEST_CASE("macvlan sibling: the one of the last VM of this name may still be on its way out") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  const Netns old("old");
  if (!run(words("ip link add link lan0 name tap0 netns box type macvtap mode bridge")).ok())
    SLICER_SKIP("no macvtap in this kernel");
  const net::Netns ns = got(net::Netns::open(box.path()));
  RouteSocket session = got(RouteSocket::open_in(ns));
  const int first = got(net::ensure_macvlan_sibling(session, ns, macvtap_of(box)));
  const std::string mac = got(net::get_link(session, first)).mac.text();
  REQUIRE(net::delete_link(session, first));
  (void)must("ip link add link lan0 name last netns old address " + mac + " type macvlan mode bridge");
  (void)must("ip link set last up", old.path());
  const Background leaving([&] {
    (void)eventually([&] { return run(words("ip link show slbeside"), {.netns = box.path()}).ok(); });
    (void)must("ip link del last", old.path());
  });
  CHECK(net::ensure_macvlan_sibling(session, ns, macvtap_of(box)));
}

TEST_CASE("macvlan sibling: of several that make it at once each gets the one") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  if (!run(words("ip link add link lan0 name tap0 netns box type macvtap mode bridge")).ok())
    SLICER_SKIP("no macvtap in this kernel");
  const net::Netns ns = got(net::Netns::open(box.path()));
  std::vector<Background> makers;
  for (int i = 0; i < 4; ++i)
    makers.emplace_back([&] {
      RouteSocket own = got(RouteSocket::open_in(ns));
      const Result<int> index = net::ensure_macvlan_sibling(own, ns, macvtap_of(box));
      (void)must("touch /run/" + std::string(index ? "made-" : "failed-") + std::to_string(getpid()));
      (void)pause();
    });
  CHECK(eventually([] { return words(run({"sh", "-c", "ls /run | grep -e made- -e failed-"}).out).size() == 4; }));
  CHECK(run({"sh", "-c", "ls /run | grep failed-"}).out.empty());
}

TEST_CASE("macvlan sibling: where it could not reach the guest there is none") {
  const Host host;
  const Surroundings around;
  const Netns box("box");
  if (!run(words("ip link add link lan0 name tap0 netns box type macvtap mode private")).ok())
    SLICER_SKIP("no macvtap in this kernel");
  const net::Netns ns = got(net::Netns::open(box.path()));
  RouteSocket session = got(RouteSocket::open_in(ns));
  const Error error = refused(net::ensure_macvlan_sibling(session, ns, macvtap_of(box)));
  CHECK(error.kind == Kind::kUnavailable);
  CHECK(error.message ==
        "make a link beside macvtap 'tap0': it is not in mode 'bridge', so nothing on this host reaches it");
  CHECK_FALSE(run(words("ip link show slbeside"), {.netns = box.path()}).ok());
}

}  // namespace slicer::test
