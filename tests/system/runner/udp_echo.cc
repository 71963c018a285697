// A server for a guest without one: sends each UDP datagram to its first argument's port back. Linked statically.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_port = htons(static_cast<uint16_t>(std::strtol(argv[1], nullptr, 10)));
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) return 1;
  if (daemon(0, 0) != 0) return 1;
  static std::array<char, 65536> room = {};
  for (;;) {
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    const ssize_t count = recvfrom(fd, room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
    if (count < 0) return 1;
    (void)sendto(fd, room.data(), static_cast<size_t>(count), 0, reinterpret_cast<const sockaddr*>(&from), size);
  }
}
