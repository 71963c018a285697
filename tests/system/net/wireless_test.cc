// Radios are known by a sysfs of the link's own namespace.
#include "lib/net/wireless.h"

#include <fcntl.h>

#include "lib/net/detached_mount.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/net/helpers.h"

namespace slicer::test {

TEST_CASE("wireless: a sysfs is the one of the namespace that was asked for, and no path leads to it") {
  const Host host;
  const Netns box("box");
  (void)must("ip link add inside0 type veth peer name inside1", box.path());
  const std::string mounts = must("cat /proc/self/mounts");
  const UniqueFd sysfs = got(net::mount_sysfs(got(net::Netns::open(box.path()))));
  const auto shows = [&](const char* path) { return faccessat(sysfs.get(), path, F_OK, 0) == 0; };
  CHECK(shows("class/net/inside0/ifindex"));
  CHECK_FALSE(run(words("cat /sys/class/net/inside0/ifindex")).ok());
  (void)must("ip link add outside0 type veth peer name outside1");
  CHECK_FALSE(shows("class/net/outside0/ifindex"));
  CHECK(must("cat /proc/self/mounts") == mounts);
}

TEST_CASE("wireless: the signs of a radio's driver, old and new") {
  const Host host;
  (void)must("mkdir -p /run/sys/class/net/wlan0/phy80211 /run/sys/class/net/old0/wireless /run/sys/class/net/eth0");
  const UniqueFd sysfs(open("/run/sys", O_PATH | O_DIRECTORY | O_CLOEXEC));
  REQUIRE(sysfs.valid());
  CHECK(net::is_wireless_in(sysfs.get(), "wlan0"));
  CHECK(net::is_wireless_in(sysfs.get(), "old0"));
  CHECK_FALSE(net::is_wireless_in(sysfs.get(), "eth0"));
  CHECK_FALSE(net::is_wireless_in(sysfs.get(), "wlan1"));
}

}  // namespace slicer::test
