// "selinuxContext" where SELinux enforces: in the guest of tests/scripts/debian-kernel, whose policy says who is who.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "tests/system/fixture/kill_at_syscall.h"
#include "tests/system/tap/tap_support.h"

using namespace slicer::test;
using namespace slicer::test::tap;
using slicer::UniqueFd;

namespace {

const std::string kVm = "slicer_u:r:vm_t:s0:c1";
const std::string kOtherVm = "slicer_u:r:vm_t:s0:c2";
const std::string kStranger = "slicer_u:r:stranger_t:s0";
const std::string kRuntime = "slicer_u:r:runtime_t:s0-s0:c0.c2";  ///< this process, and the plugin without a label

std::string why_not() {
  std::string own;
  std::getline(std::ifstream("/proc/self/attr/current"), own, '\0');
  return own == kRuntime ? "" : "SELinux does not enforce tests/scripts/debian-kernel.policy here";
}

/// errno of a hypervisor of that label which opens the TAP; 0: it has it.
int open_as(const std::string& label, const std::string& netns, const std::string& tap, int flags = 0) {
  int status = -1;
  in_netns(netns, [&] {
    const pid_t child = fork();
    if (child == 0) {
      const int own = open("/proc/thread-self/attr/current", O_WRONLY | O_CLOEXEC);
      if (write(own, label.data(), label.size()) < 0) _exit(255);
      const int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
      ifreq request = {};
      std::strncpy(request.ifr_name, tap.c_str(), sizeof request.ifr_name - 1);
      request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | flags);
      _exit(ioctl(tun, TUNSETIFF, &request) == 0 ? 0 : errno);
    }
    (void)waitpid(child, &status, 0);
  });
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) != 255);
  return WEXITSTATUS(status);
}

Json plain_conf(const std::string& label = "") {
  Json conf = {{"cniVersion", "1.1.0"},
               {"name", "plain"},
               {"type", kPlugin},
               {"owner", 40001},
               {"ipam", {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}}}};
  if (!label.empty()) conf["selinuxContext"] = label;
  return conf;
}

/// What an attachment can have left.
std::string left(const Netns& box) {
  return must("ip -br link show type tun", box.path()) + must("find /var/lib/cni -name 192.0.2.*");
}

}  // namespace

TEST_CASE(
    "tap label: a VM of the label opens the TAP, and nobody of another, and without a label it is the runtime's") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Netns box("box");
  for (const bool several : {false, true}) {
    CAPTURE(several);
    const int flags = several ? IFF_MULTI_QUEUE : 0;
    const Json labelled = with(plain_conf(kVm), "multiQueue", several);
    const Json result = must_add(kPlugin, labelled, call_in("ADD", box));
    for (const std::string& other : {kRuntime, kStranger, kOtherVm})
      CHECK_MESSAGE(open_as(other, box.path(), "eth0", flags) == EACCES, other);
    CHECK(open_as(kVm, box.path(), "eth0", flags) == 0);
    CHECK(must("ip -d link show dev eth0", box.path()).find("user 40001") != std::string::npos);
    CHECK(call(with(labelled, "prevResult", result), call_in("CHECK", box)).ok());
    must_del(kPlugin, labelled, call_in("DEL", box));
    CHECK(left(box) == "");

    const Json bare = with(plain_conf(), "multiQueue", several);
    (void)must_add(kPlugin, bare, call_in("ADD", box));
    for (const std::string& other : {kVm, kStranger})
      CHECK_MESSAGE(open_as(other, box.path(), "eth0", flags) == EACCES, other);
    CHECK(open_as(kRuntime, box.path(), "eth0", flags) == 0);
    must_del(kPlugin, bare, call_in("DEL", box));
  }
}

TEST_CASE("tap label: behind another plugin, where a second ADD leaves the TAP with its label") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Container container;
  const std::string box = container.box.path();
  const Json conf = with(with(container.conf(), "selinuxContext", kVm), "macspoofchk", true);
  const Json result = container.add(conf);
  CHECK(open_as(kRuntime, box, "tap0") == EACCES);
  CHECK(container.add(conf) == result);
  CHECK(container.add(with(conf, "selinuxContext", kOtherVm)) == result);
  CHECK(container.add(container.conf()) == result);
  for (const std::string& other : {kRuntime, kStranger, kOtherVm})
    CHECK_MESSAGE(open_as(other, box, "tap0") == EACCES, other);
  CHECK(open_as(kVm, box, "tap0") == 0);
  CHECK(call(with(conf, "prevResult", result), container.call("CHECK")).ok());
  must_del(kPlugin, conf, container.call("DEL"));
  CHECK(must("ip -br link show type tun", box) == "");
}

TEST_CASE("tap label: one that cannot be had is refused by name, and nothing is left") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Netns box("box");
  struct Row {
    std::string label;
    int code;
    std::string cause;
    int status;
  };
  for (const Row& row : {Row{"slicer_u:r:nobody_t:s0", 7, "the policy of this host does not know that label", 50},
                         Row{"slicer_u:r:vm_t:s0:c9", 7, "the policy of this host does not know that label", 50},
                         Row{"slicer_u:r:vm_t", 7, "the policy of this host does not know that label", 50},
                         Row{"slicer_u:r:no_start_t:s0", 100, "start a process of it: Permission denied (EACCES)", 0},
                         Row{"slicer_u:r:no_program_t:s0", 100, "a process of it cannot be loaded", 0},
                         Row{"slicer_u:r:no_device_t:s0", 100, "may not use /dev/net/tun", 0},
                         Row{"slicer_u:r:no_tap_t:s0", 100, "may not make a TAP: Permission denied (EACCES)", 0}}) {
    CAPTURE(row.label);
    const Answer refused = call(plain_conf(row.label), call_in("ADD", box));
    INFO(refused.text());
    CHECK(refused.code() == row.code);
    CHECK(refused.msg().find("\"selinuxContext\" '" + row.label + "': ") != std::string::npos);
    CHECK(refused.msg().find(row.cause) != std::string::npos);
    CHECK(left(box) == "");
    const Answer status = call(plain_conf(row.label), {.command = "STATUS"});
    CHECK(status.code() == row.status);
    must_del(kPlugin, plain_conf(row.label), call_in("DEL", box));
  }
}

TEST_CASE("tap label: ADD killed at every system call, then DEL or GC") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  const Host host;
  const Netns box("box");
  const Json conf = with(with(tap_conf("plain"), "selinuxContext", kVm), "owner", 40001);
  (void)kill_at_every_syscall(
      {.plugin = kPlugin, .conf = conf, .call = call_in("ADD", box), .loader = 156, .step = 5}, [] {},
      [&](const KillOutcome& outcome) {
        INFO("killed at system call ", outcome.syscalls, " ", outcome.name);
        if (outcome.syscalls % 2 == 0) {
          must_del(kPlugin, conf, call_in("DEL", box));
        } else {
          const Json gc = with(conf, "/cni.dev~1valid-attachments", Json::array());
          REQUIRE(call(gc, {.command = "GC"}).ok());
        }
        CHECK(left(box) == "");
      });
}
