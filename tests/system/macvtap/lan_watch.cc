#include "tests/system/macvtap/lan_watch.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/if_ether.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/system/fixture/process.h"

namespace slicer::test {

LanWatch::LanWatch(const std::string& netns, const std::string& link) {
  (void)must("ip link set " + link + " promisc on", netns);
  in_netns(netns, [&] {
    fd_.reset(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    sockaddr_ll place = {};
    place.sll_family = AF_PACKET;
    place.sll_protocol = htons(ETH_P_ALL);
    place.sll_ifindex = static_cast<int>(if_nametoindex(link.c_str()));
    if (!fd_.valid() || bind(fd_.get(), reinterpret_cast<const sockaddr*>(&place), sizeof place) != 0)
      give_up("watch " + link);
  });
}

std::string LanWatch::next(std::chrono::steady_clock::time_point end) const {
  std::string frame(65536, '\0');
  for (;;) {
    const ssize_t size = recv(fd_.get(), frame.data(), frame.size(), 0);
    if (size > 0) {
      frame.resize(static_cast<size_t>(size));
      return frame;
    }
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
    pollfd wait{fd_.get(), POLLIN, 0};
    if (left <= 0 || poll(&wait, 1, static_cast<int>(left)) <= 0) return {};
  }
}

bool LanWatch::sees(const std::string& marker, std::chrono::milliseconds limit) const {
  const auto end = std::chrono::steady_clock::now() + limit;
  for (;;) {
    const std::string frame = next(end);
    if (frame.empty()) return false;
    if (frame.find(marker) != std::string::npos) return true;
  }
}

bool LanWatch::sees_before(const std::string& marker, const std::string& last) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  for (bool seen = false;;) {
    const std::string frame = next(end);
    if (frame.empty()) give_up("the LAN does not see '" + last + "'");
    if (frame.find(marker) != std::string::npos) seen = true;
    if (frame.find(last) != std::string::npos) return seen;
  }
}

int LanWatch::count(const std::string& marker) const {
  int seen = 0;
  while (sees(marker, std::chrono::milliseconds(0))) ++seen;
  return seen;
}

}  // namespace slicer::test
