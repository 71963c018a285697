#include "lib/net/wireless.h"

#include <fcntl.h>
#include <unistd.h>

#include "lib/net/detached_mount.h"

namespace slicer::net {

// "phy80211": cfg80211 has it (net/wireless/core.c, cfg80211_netdev_notifier_call()). "wireless": older drivers.
bool is_wireless_in(int sysfs, const std::string& name) {
  for (const char* sign : {"/phy80211", "/wireless"})
    if (faccessat(sysfs, ("class/net/" + name + sign).c_str(), F_OK, 0) == 0) return true;
  return false;
}

// nl80211 would have to be asked by name, and a kernel without a radio loads its module then.
Result<bool> is_wireless(const Netns& ns, const Link& link) {
  // A radio's link is made by its driver, not by rtnetlink; drivers/net/wireless/virtual/virt_wifi.c is the exception.
  if (!link.kind.empty() && link.kind != "virt_wifi") return false;
  const UniqueFd sysfs = TRY(mount_sysfs(ns).context("look whether link '" + link.name + "' is wireless"));
  return is_wireless_in(sysfs.get(), link.name);
}

}  // namespace slicer::net
