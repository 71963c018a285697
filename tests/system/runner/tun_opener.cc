// A hypervisor's way to its network device: opens /dev/net/tun as Firecracker does
// (src/vmm/src/devices/virtio/net/tap.rs there: TAP without packet information, with a virtio-net header of 12 bytes),
// says so, and sends one frame.
//
// usage: tun_opener NAME
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace {

int fail(const char* step) {
  (void)std::printf("%s: %s\n", step, strerror(errno));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return fail("open");
  ifreq request = {};
  (void)std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", argv[1]);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) != 0) return fail("TUNSETIFF");
  if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0) return fail("TUNSETOFFLOAD");
  constexpr int kHeader = 12;
  int size = kHeader;
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) != 0) return fail("TUNSETVNETHDRSZ");
  // To all, from 02:00:5e:00:53:01, of the experimental type 0x88b5 (IEEE 802).
  std::array<unsigned char, kHeader + 60> frame = {};
  (void)std::memset(frame.data() + kHeader, 0xff, 6);
  (void)std::memcpy(frame.data() + kHeader + 6, "\x02\x00\x5e\x00\x53\x01\x88\xb5opened by name", 22);
  if (write(fd, frame.data(), frame.size()) != static_cast<ssize_t>(frame.size())) return fail("write");
  (void)std::printf("opened as uid %d\n", static_cast<int>(getuid()));
  return 0;
}
