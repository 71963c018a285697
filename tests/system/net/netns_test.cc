// lib/net's namespaces and sysctls on the real kernel.
#include "lib/net/netns.h"

#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <vector>

#include "lib/base/whole_file.h"
#include "lib/net/link.h"
#include "lib/net/sysctl.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"

using namespace slicer;
using namespace slicer::test;

namespace {

constexpr const char* kPath = "/run/netns/vm-1";

}  // namespace

TEST_CASE("netns: is made with its loopback up, seen by ip, and removed once") {
  const Host host;
  const net::Netns before = got(net::Netns::current());
  got(net::create_named_netns(kPath));
  CHECK(before.is_same(got(net::Netns::current())));
  const net::Netns made = got(net::Netns::open(kPath));
  CHECK_FALSE(made.is_same(before));
  CHECK(must("ip -n vm-1 -o link show lo").find(",UP") != std::string::npos);
  const Error taken = refused(net::create_named_netns(kPath));
  CHECK(taken.kind == Kind::kExists);
  for (int i = 0; i < 2; ++i) got(net::delete_named_netns(kPath));
  CHECK(refused(net::Netns::open(kPath)).kind == Kind::kNotFound);
  CHECK(refused(read_file(kPath)).kind == Kind::kNotFound);
}

TEST_CASE("netns: what a crash leaves is taken over, and removed") {
  const Host host;
  (void)must("touch /run/netns/vm-1");
  const Error leftover = refused(net::Netns::open(kPath));
  CHECK(leftover.kind == Kind::kInvalidEnvironment);
  CHECK_FALSE(leftover.hint.empty());
  got(net::create_named_netns(kPath));
  (void)got(net::Netns::open(kPath));
  (void)must("mount --bind /run/netns/vm-1 /run/netns/vm-1");  // stacked
  got(net::delete_named_netns(kPath));
  (void)must("touch /run/netns/vm-1");
  got(net::delete_named_netns(kPath));
  CHECK(refused(net::Netns::open(kPath)).kind == Kind::kNotFound);
}

TEST_CASE("netns: one that is made is seen in mount namespaces that were there before") {
  const Host host;
  got(net::create_named_netns("/run/netns/first"));  // the folder is shared from here on
  int ready[2];
  int made[2];
  REQUIRE(pipe(ready) == 0);
  REQUIRE(pipe(made) == 0);
  const pid_t pid = fork();
  if (pid == 0) {
    char byte = 0;
    if (unshare(CLONE_NEWNS) != 0 || write(ready[1], "x", 1) != 1 || read(made[0], &byte, 1) != 1) _exit(1);
    _exit(net::Netns::open(kPath) ? 0 : 2);
  }
  char byte = 0;
  REQUIRE(read(ready[0], &byte, 1) == 1);
  got(net::create_named_netns(kPath));
  REQUIRE(write(made[1], "x", 1) == 1);
  int status = -1;
  REQUIRE(waitpid(pid, &status, 0) == pid);
  CHECK(status == 0);
}

TEST_CASE("netns: many at a time in a folder that is new, which is shared once") {
  const Host host;
  for (int round = 0; round < 10; ++round) {
    const std::string folder = "/run/round-" + std::to_string(round);
    int start[2];
    REQUIRE(pipe(start) == 0);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
      const pid_t pid = fork();
      char byte = 0;
      if (pid == 0) {
        (void)close(start[1]);
        (void)!read(start[0], &byte, 1);  // all go when the last writer is gone
        _exit(net::create_named_netns(folder + "/vm-" + std::to_string(i)) ? 0 : 1);
      }
      children.push_back(pid);
    }
    (void)close(start[1]);
    (void)close(start[0]);
    for (const pid_t pid : children) {
      int status = -1;
      REQUIRE(waitpid(pid, &status, 0) == pid);
      CHECK(status == 0);
    }
    for (int i = 0; i < 8; ++i) {
      (void)got(net::Netns::open(folder + "/vm-" + std::to_string(i)));
      got(net::delete_named_netns(folder + "/vm-" + std::to_string(i)));
    }
    CHECK(run({"grep", "-c", " " + folder, "/proc/self/mountinfo"}).out == "1\n");  // the folder itself
  }
}

TEST_CASE("netns: a file that is none is refused, and one in two places is one") {
  const Host host;
  const net::Netns host_ns = got(net::Netns::open(Host::netns()));
  CHECK(host_ns.is_same(got(net::Netns::current())));
  CHECK(refused(net::Netns::open("/etc/passwd")).kind == Kind::kInvalidEnvironment);
  CHECK(refused(net::Netns::open("/proc/self/ns/mnt")).kind == Kind::kInvalidEnvironment);
  CHECK(refused(net::Netns::open("/run/netns/none")).kind == Kind::kNotFound);
}

TEST_CASE("netns: a thread that enters comes back, and others never leave") {
  const Host host;
  got(net::create_named_netns(kPath));
  const net::Netns there = got(net::Netns::open(kPath));
  const net::Netns here = got(net::Netns::current());
  {
    const net::ScopedNetns inside = got(net::ScopedNetns::enter(there));
    CHECK(there.is_same(got(net::Netns::current())));
    std::thread([&] { CHECK(there.is_same(net::Netns::current().value())); }).join();  // inherits the maker's
  }
  CHECK(here.is_same(got(net::Netns::current())));
}

TEST_CASE("sysctl: read, written and compared in the namespace asked for") {
  const Host host;
  got(net::create_named_netns(kPath));
  const net::Netns there = got(net::Netns::open(kPath));
  const std::string key = "net/ipv4/conf/all/proxy_arp";
  CHECK(got(net::ensure_sysctl(&there, key, "1")) == "0");
  CHECK_FALSE(got(net::ensure_sysctl(&there, key, "1")).has_value());
  CHECK(got(net::read_sysctl(&there, key)) == "1");
  CHECK(got(net::read_sysctl(nullptr, key)) == "0");
  CHECK(refused(net::read_sysctl(nullptr, "net/ipv4/conf/none/proxy_arp")).kind == Kind::kNotFound);
  const Error bad = refused(net::write_sysctl(nullptr, key, "many"));
  CHECK(bad.message == "set sysctl 'net/ipv4/conf/all/proxy_arp' to 'many': Invalid argument (EINVAL)");
}

TEST_CASE("sysctl: kept values survive in one file, each once, in order") {
  const Host host;
  const std::pair<std::string, std::string> first[] = {{"net/ipv4/ip_forward", "1"},
                                                       {"net/ipv4/conf/a.5/proxy_arp", "1"}};
  const std::pair<std::string, std::string> second[] = {{"net/ipv4/ip_forward", "1"},
                                                        {"net/ipv6/conf/all/forwarding", "1"}};
  got(net::keep_sysctls("50-slicer.conf", first));
  got(net::keep_sysctls("50-slicer.conf", second));
  CHECK(got(read_file("/run/sysctl.d/50-slicer.conf")) ==
        "net/ipv4/ip_forward = 1\nnet/ipv4/conf/a.5/proxy_arp = 1\nnet/ipv6/conf/all/forwarding = 1\n");
  struct stat before = {}, after = {};
  REQUIRE(stat("/run/sysctl.d/50-slicer.conf", &before) == 0);
  got(net::keep_sysctls("50-slicer.conf", second));
  REQUIRE(stat("/run/sysctl.d/50-slicer.conf", &after) == 0);
  CHECK(before.st_ino == after.st_ino);  // nothing was written
}

TEST_CASE("sysctl: the kept file works with `sysctl`") {
  const Host host;
  net::RouteSocket ns = got(net::RouteSocket::open());
  if (run({"sysctl", "-V"}).exit_code == 127) SLICER_SKIP("needs the program sysctl");
  got(net::ensure_forwarding(nullptr, addr::Family::kIpv4, "50-slicer.conf"));
  Host::sysctl("net/ipv4/ip_forward", "0");
  (void)must("sysctl -q -p /run/sysctl.d/50-slicer.conf");
  CHECK(got(net::is_forwarding(addr::Family::kIpv4)));
}

TEST_CASE("sysctl: IPv6 forwarding keeps router advertisements where they were taken, and only there") {
  const Host host;
  net::RouteSocket ns = got(net::RouteSocket::open());
  (void)got(net::create_veth(ns, {.here = {.name = "lan0"}, .peer = {.name = "far0"}}));
  Host::sysctl("net/ipv6/conf/far0/accept_ra", "0");
  CHECK_FALSE(got(net::is_forwarding(addr::Family::kIpv6)));
  for (int i = 0; i < 2; ++i) got(net::ensure_forwarding(nullptr, addr::Family::kIpv6, "50-slicer.conf"));
  CHECK(got(net::is_forwarding(addr::Family::kIpv6)));
  CHECK_FALSE(got(net::is_forwarding(addr::Family::kIpv4)));
  CHECK(Host::sysctl("net/ipv6/conf/lan0/accept_ra") == "2");
  CHECK(Host::sysctl("net/ipv6/conf/far0/accept_ra") == "0");
  CHECK(Host::sysctl("net/ipv6/conf/default/accept_ra") == "1");
  const std::string kept = got(read_file("/run/sysctl.d/50-slicer.conf"));
  CHECK(kept.find("net/ipv6/conf/lan0/accept_ra = 2\n") < kept.find("net/ipv6/conf/all/forwarding = 1\n"));
}
