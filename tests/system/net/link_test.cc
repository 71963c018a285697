// lib/net's links and TAPs on the real kernel.
#include "lib/net/link.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <vector>

#include "lib/net/address.h"
#include "lib/net/tap.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"

using namespace slicer;
using namespace slicer::test;
using net::DeleteWait;
using net::RouteSocket;

namespace {

constexpr const char* kMac = "02:00:5e:00:53:01";
constexpr const char* kMac2 = "02:00:5e:00:53:02";

/// In a child: this system call ends it (or fails with `err`); `argument` >= 0: only with that second argument.
void forbid(unsigned number, long long argument, unsigned action) {
  const auto second = static_cast<unsigned>(offsetof(seccomp_data, args[1]));
  std::vector<sock_filter> code = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, static_cast<uint8_t>(argument < 0 ? 1 : 3)),
  };
  if (argument >= 0) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, second));
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(argument), 0, 1));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, action));
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    _exit(99);
}

/// Runs `body` in a child and gives its wait status.
template <class Body>
int in_child(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  int status = 0;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  return status;
}

}  // namespace

TEST_CASE("link: a bridge is born with its MAC and MTU, without delay, and says so") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int index =
      got(net::create_bridge(ns, {.name = "slb0", .alias = "slicer:lan", .mac = mac_of(kMac), .mtu_bytes = 1450}));
  const net::Link link = got(net::get_link(ns, "slb0"));
  CHECK(link.index == index);
  CHECK(link.kind == "bridge");
  CHECK(link.alias == "slicer:lan");
  CHECK(link.mac == mac_of(kMac));
  CHECK(link.mtu_bytes == 1450);
  CHECK(link.up);
  REQUIRE(link.bridge.has_value());
  CHECK(link.bridge->forward_delay_ms == 0);
  CHECK_FALSE(link.bridge->stp);
  CHECK(must("cat /sys/class/net/slb0/addr_assign_type") == "3\n");  // set: udev leaves it alone
  CHECK(refused(net::create_bridge(ns, {.name = "slb0"})).kind == Kind::kExists);
}

TEST_CASE("link: VLAN filtering is set, or refused as a missing kernel feature with a hint") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int index = got(net::create_bridge(ns, {.name = "slb0"}));
  const Result<void> set = net::set_vlan_filtering(ns, index, true);
  if (!set) {
    CHECK(set.error().kind == Kind::kUnsupportedKernel);
    CHECK(set.error().hint.find("VLAN") != std::string::npos);
    return;
  }
  CHECK(got(net::get_link(ns, "slb0")).bridge->vlan_filtering);
}

TEST_CASE("link: what is absent is not found, and impossible names are nobody's") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  CHECK_FALSE(got(net::find_link(ns, "none")).has_value());
  CHECK_FALSE(got(net::find_link(ns, 4711)).has_value());
  CHECK_FALSE(got(net::find_link(ns, "a-name-over-15-characters")).has_value());
  CHECK_FALSE(got(net::find_link_index(ns, "none")).has_value());
  CHECK_FALSE(got(net::find_link_index(ns, "")).has_value());
  CHECK(refused(net::get_link(ns, "none")).kind == Kind::kNotFound);
  CHECK(refused(net::get_link_index(ns, "none")).message == "find link 'none': there is none");
  CHECK(refused(net::set_link(ns, 4711, {.up = true})).kind == Kind::kNotFound);
}

TEST_CASE("link: a session stays in its namespace, wherever the thread is") {
  const Host host;
  const slicer::test::Netns other("other");
  const net::Netns there = got(net::Netns::open(other.path()));
  RouteSocket ns = got(RouteSocket::open_in(there));
  (void)got(net::create_bridge(ns, {.name = "slb0"}));
  CHECK(got(net::find_link_index(ns, "slb0")).has_value());
  RouteSocket here = got(RouteSocket::open());
  CHECK_FALSE(got(net::find_link_index(here, "slb0")).has_value());
}

TEST_CASE("link: answers are told apart from notifications of others' doings, which carry others' numbers") {
  const Host host;
  for (const bool dump : {false, true}) {
    // Both sessions are new: the first request of each is number 1, and so is the notice of the other's.
    RouteSocket ns = got(RouteSocket::open());
    RouteSocket other = got(RouteSocket::open());
    got(ns.set_membership(RTNLGRP_IPV4_IFADDR, true));
    (void)got(net::ensure_address(other, 1, {.address = cidr_of(dump ? "192.0.2.1/24" : "192.0.2.2/24")}));
    if (dump)
      CHECK(got(net::list_addresses(ns, 1, addr::Family::kIpv4)).size() == 3);  // and 127.0.0.1
    else
      CHECK(got(net::get_link(ns, "lo")).index == 1);
  }
}

TEST_CASE("link: one message changes alias, MAC, MTU, group, master and state, and nothing else") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  (void)must("ip link add dummy-a type veth peer name dummy-b");
  const int index = got(net::get_link_index(ns, "dummy-a"));
  const std::string alias(255, 'a');  // IFALIASZ's most
  got(net::set_link(
      ns, index, {.alias = alias, .mac = mac_of(kMac), .mtu_bytes = 1400, .group = 7, .master = bridge, .up = true}));
  net::Link link = got(net::get_link(ns, index));
  CHECK(link.alias == alias);
  CHECK(link.mac == mac_of(kMac));
  CHECK(link.mtu_bytes == 1400);
  CHECK(link.group == 7);
  CHECK(link.master == bridge);
  CHECK(link.up);
  got(net::set_link(ns, index, {.master = 0, .promiscuous = true}));
  link = got(net::get_link(ns, index));
  CHECK(link.master == 0);
  CHECK(link.promiscuous);
  CHECK(link.mtu_bytes == 1400);
  CHECK(link.up);
}

TEST_CASE("link: a veth is born complete in two namespaces") {
  const Host host;
  const slicer::test::Netns other("other");
  const net::Netns there = got(net::Netns::open(other.path()));
  RouteSocket ns = got(RouteSocket::open());
  RouteSocket inside = got(RouteSocket::open_in(there));
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  const int index =
      got(net::create_veth(ns, {.here = {.name = "slv0", .mac = mac_of(kMac), .mtu_bytes = 1400},
                                .master = bridge,
                                .alias = "slicer:lan/vm/eth0",
                                .peer = {.name = "eth0", .mac = mac_of(kMac2), .mtu_bytes = 1400, .group = 99},
                                .peer_ns = &there}));
  const net::Link here = got(net::get_link(ns, index));
  const net::Link peer = got(net::get_link(inside, "eth0"));
  CHECK(here.kind == "veth");
  CHECK(here.mac == mac_of(kMac));
  CHECK(here.master == bridge);
  CHECK(here.alias == "slicer:lan/vm/eth0");
  CHECK(here.up);
  CHECK(here.peer_index == peer.index);
  REQUIRE(here.peer_netnsid.has_value());
  CHECK(peer.mac == mac_of(kMac2));
  CHECK(peer.mtu_bytes == 1400);
  CHECK(peer.group == 99);
  CHECK(peer.up);
  CHECK(peer.peer_index == index);
  const auto seen = got(net::find_link_in(ns, *here.peer_netnsid, "eth0"));
  REQUIRE(seen.has_value());
  CHECK(seen->mac == mac_of(kMac2));
  CHECK_FALSE(got(net::find_link_in(ns, *here.peer_netnsid, "none")).has_value());
}

TEST_CASE("link: a veth whose name is taken at either end is refused and leaves nothing") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  (void)got(net::create_bridge(ns, {.name = "taken"}));
  CHECK(refused(net::create_veth(ns, {.here = {.name = "taken"}, .peer = {.name = "b"}})).kind == Kind::kExists);
  CHECK(refused(net::create_veth(ns, {.here = {.name = "a"}, .peer = {.name = "taken"}})).kind == Kind::kExists);
  CHECK(got(net::list_links(ns, "")).size() == 2);  // lo and taken
}

TEST_CASE("delete: absent is success, and the kernel's refusal arrives, in both ways of waiting") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  for (const DeleteWait wait : {DeleteWait::kBarrier, DeleteWait::kNotice}) {
    got(net::delete_link(ns, "none", wait));
    got(net::delete_link(ns, 4711, wait));
    got(net::delete_link_group(ns, 4711, wait));
    const Error error = refused(net::delete_link(ns, 1, wait));  // lo
    CHECK(error.kind == Kind::kUnsupportedKernel);
    CHECK(error.message.find("delete link 1: ") == 0);
    CHECK(refused(net::delete_link_group(ns, 0, wait)).kind == Kind::kInternal);
  }
}

TEST_CASE("delete: at the kernel's notice the name is free, 60 times of 60") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  for (int i = 0; i < 60; ++i) {
    (void)got(net::create_tap(nullptr, ns, {.name = "vmtap0", .master = bridge}));
    got(net::delete_link(ns, "vmtap0", DeleteWait::kNotice));
    REQUIRE_FALSE(got(net::find_link_index(ns, "vmtap0")).has_value());
  }
}

TEST_CASE("delete: a group goes by one message, from inside and from the host") {
  const Host host;
  for (const DeleteWait wait : {DeleteWait::kBarrier, DeleteWait::kNotice}) {
    const slicer::test::Netns other("other");
    const net::Netns there = got(net::Netns::open(other.path()));
    RouteSocket ns = got(RouteSocket::open());
    RouteSocket inside = got(RouteSocket::open_in(there));
    for (const bool from_host : {false, true}) {
      const int index = got(
          net::create_veth(ns, {.here = {.name = "slv0"}, .peer = {.name = "slx0", .group = 99}, .peer_ns = &there}));
      (void)got(net::create_tap(&there, inside, {.name = "tap0", .link_group = 99}));
      const std::optional<int> id = got(net::get_link(ns, index)).peer_netnsid;
      REQUIRE(id.has_value());
      if (from_host)
        got(net::delete_link_group_in(ns, *id, 99, index, wait));
      else
        got(net::delete_link_group(inside, 99, wait));
      CHECK(got(net::list_links(inside, "")).size() == 1);  // lo
      CHECK(eventually([&] { return !got(net::find_link_index(ns, "slv0")); }));
    }
  }
}

TEST_CASE("delete: the group of a namespace that is gone is gone") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  got(net::delete_link_group_in(ns, 4711, 99, 4711, DeleteWait::kBarrier));
  got(net::delete_link_group_in(ns, 4711, 99, 4711, DeleteWait::kNotice));
}

TEST_CASE("delete: without a child it waits itself, and a child that dies early leaves it nothing to lose") {
  const Host host;
  const unsigned refuse = SECCOMP_RET_ERRNO | 11;  // EAGAIN: no more processes
  const struct {
    unsigned call;
    unsigned action;
  } faults[] = {{SYS_clone3, refuse}, {SYS_close_range, SECCOMP_RET_KILL_PROCESS}};
  for (const auto& fault : faults) {
    RouteSocket ns = got(RouteSocket::open());
    const int index = got(net::create_bridge(ns, {.name = "slb0"}));
    const int status = in_child([&] {
      forbid(fault.call, -1, fault.action);
      return net::delete_link(ns, index, DeleteWait::kNotice) ? 0 : 1;
    });
    CHECK(status == 0);
    CHECK_FALSE(got(net::find_link_index(ns, "slb0")).has_value());
  }
}

namespace {

/// Deletes a TAP in a process whose stdio is a pipe. @return whether a process that it left was still there when the
/// pipe ended.
bool outlives_the_pipe(DeleteWait wait) {
  RouteSocket ns = got(RouteSocket::open());
  const int index = got(net::create_tap(nullptr, ns, {.name = "vmtap0"}));
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO})  // below the session's socket and above it
      if (dup2(ends[1], number) < 0) _exit(2);
    _exit(net::delete_link(ns, index, wait) ? 0 : 1);
  }
  (void)close(ends[1]);
  char byte = 0;
  CHECK(read(ends[0], &byte, 1) == 0);
  (void)close(ends[0]);
  int status = -1;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
  const bool left = waitpid(-1, nullptr, WNOHANG | __WALL) == 0;
  while (waitpid(-1, nullptr, __WALL) > 0) continue;
  return left;
}

}  // namespace

TEST_CASE("delete: who waits for the end of our pipe does not wait for the barrier") {
  const Host host;
  REQUIRE(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);  // what the process leaves becomes this one's child
  // One that kept the pipe could never be seen behind its end; one that closed it may have ended by then.
  bool seen = false;
  for (int i = 0; i < 15 && !seen; ++i) seen = outlives_the_pipe(DeleteWait::kNotice);
  CHECK(seen);
  CHECK_FALSE(outlives_the_pipe(DeleteWait::kBarrier));
}

TEST_CASE("tap: complete by one change, persistent, with an owner") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  const int bridge = got(net::create_bridge(ns, {.name = "slb0"}));
  const int index = got(net::create_tap(nullptr, ns,
                                        {.name = "vmtap0",
                                         .alias = "slicer:lan/vm/vmtap0",
                                         .mac = mac_of(kMac),
                                         .mtu_bytes = 1400,
                                         .master = bridge,
                                         .link_group = 5,
                                         .owner = 4711,
                                         .owner_group = 4712,
                                         .no_ipv6_link_local = true}));
  const net::Link link = got(net::get_link(ns, index));
  CHECK(link.name == "vmtap0");
  CHECK(link.alias == "slicer:lan/vm/vmtap0");
  CHECK(link.mac == mac_of(kMac));
  CHECK(link.mtu_bytes == 1400);
  CHECK(link.master == bridge);
  CHECK(link.group == 5);
  CHECK(link.up);
  REQUIRE(link.tun.has_value());
  CHECK(link.tun->tap);
  CHECK(link.tun->persistent);
  CHECK(link.tun->vnet_hdr);
  CHECK_FALSE(link.tun->multi_queue);
  CHECK(link.tun->owner == 4711);
  CHECK(link.tun->group == 4712);
}

TEST_CASE("tap: in another namespace, and of uid 0 when nobody is named") {
  const Host host;
  const slicer::test::Netns other("other");
  const net::Netns there = got(net::Netns::open(other.path()));
  RouteSocket inside = got(RouteSocket::open_in(there));
  const int index = got(net::create_tap(&there, inside, {.name = "tap0"}));
  const net::Link link = got(net::get_link(inside, index));
  CHECK(link.tun->owner == 0);
  CHECK_FALSE(link.tun->group.has_value());
  RouteSocket here = got(RouteSocket::open());
  CHECK_FALSE(got(net::find_link_index(here, "tap0")).has_value());
}

TEST_CASE("tap: a name in use is refused, whatever has it, and keeps what it was") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  (void)must("ip tuntap add vmtap0 mode tap vnet_hdr");
  (void)got(net::create_bridge(ns, {.name = "slb0"}));
  for (const char* name : {"vmtap0", "slb0"}) {
    const Error error = refused(net::create_tap(nullptr, ns, {.name = name, .alias = "mine"}));
    CHECK(error.kind == Kind::kExists);
    CHECK(error.message == std::string("create tap '") + name + "': a link of that name exists");
    CHECK(got(net::get_link(ns, name)).alias.empty());
  }
}

TEST_CASE("tap: bad values are refused and leave no TAP") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  CHECK(
      refused(net::create_tap(nullptr, ns, {.name = "vmtap0", .master = 4711})).message.find("create tap 'vmtap0': ") ==
      0);
  CHECK(refused(net::create_tap(nullptr, ns, {.name = "vmtap0", .mtu_bytes = 20})).sys_errno == EINVAL);
  CHECK(refused(net::create_tap(nullptr, ns, {.name = "a-name-over-15-characters"})).kind == Kind::kInvalidConfig);
  CHECK(got(net::list_links(ns, "")).size() == 1);
}

TEST_CASE("tap: no /dev/net/tun is a missing kernel feature with a hint") {
  const Host host;
  (void)must("mount -t tmpfs tmpfs /dev/net");
  RouteSocket ns = got(RouteSocket::open());
  const Error error = refused(net::create_tap(nullptr, ns, {.name = "vmtap0"}));
  CHECK(error.kind == Kind::kUnsupportedKernel);
  CHECK(error.hint.find("modprobe tun") != std::string::npos);
  CHECK(refused(net::check_tun_device()).kind == Kind::kUnsupportedKernel);
}

TEST_CASE("tap: a process killed at any step of it leaves none") {
  const Host host;
  const struct {
    unsigned call;
    long long argument;
  } steps[] = {{SYS_ioctl, TUNSETIFF}, {SYS_ioctl, TUNSETOWNER}, {SYS_sendmsg, -1}, {SYS_ioctl, TUNSETPERSIST}};
  RouteSocket ns = got(RouteSocket::open());
  for (const auto& step : steps) {
    const int status = in_child([&] {
      forbid(step.call, step.argument, SECCOMP_RET_KILL_PROCESS);
      return net::create_tap(nullptr, ns, {.name = "vmtap0"}) ? 0 : 1;
    });
    CHECK(WIFSIGNALED(status));
    CHECK(eventually([&] { return !got(net::find_link_index(ns, "vmtap0")); }));
  }
}

TEST_CASE("tap: a hypervisor's descriptor, for one at a time") {
  const Host host;
  RouteSocket ns = got(RouteSocket::open());
  CHECK(refused(net::open_tap(nullptr, "vmtap0")).kind == Kind::kNotFound);
  CHECK(eventually([&] { return !got(net::find_link_index(ns, "vmtap0")); }));
  (void)got(net::create_tap(nullptr, ns, {.name = "vmtap0"}));
  CHECK_FALSE(got(net::get_link(ns, "vmtap0")).carrier);
  {
    const UniqueFd fd = got(net::open_tap(nullptr, "vmtap0"));
    CHECK(got(net::get_link(ns, "vmtap0")).carrier);
    CHECK(refused(net::open_tap(nullptr, "vmtap0")).kind == Kind::kBusy);
  }
  CHECK_FALSE(got(net::get_link(ns, "vmtap0")).carrier);
}
