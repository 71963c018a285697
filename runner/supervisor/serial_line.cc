#include "runner/supervisor/serial_line.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include <array>
#include <cerrno>
#include <cstdlib>

namespace slicer::runner {
namespace {

constexpr const char* kAction = "make a serial line";

Result<SerialLine> make_sockets() {
  std::array<int, 2> ends = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return fail_errno(errno, kAction);
  SerialLine line{.ours = UniqueFd(ends[0]), .theirs = UniqueFd(ends[1])};
  if (fcntl(line.ours.get(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, kAction);
  return line;
}

// The other end by the first one's descriptor (TIOCGPTPEER, ioctl_tty(2)): /dev/pts may be another one's here.
Result<SerialLine> make_terminal() {
  SerialLine line;
  line.ours = UniqueFd(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  if (!line.ours.valid() || unlockpt(line.ours.get()) != 0) return fail_errno(errno, kAction);
  line.theirs = UniqueFd(ioctl(line.ours.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  termios settings{};
  if (!line.theirs.valid() || tcgetattr(line.theirs.get(), &settings) != 0) return fail_errno(errno, kAction);
  cfmakeraw(&settings);
  if (tcsetattr(line.theirs.get(), TCSANOW, &settings) != 0) return fail_errno(errno, kAction);
  return line;
}

}  // namespace

Result<SerialLine> make_serial_line(LineKind kind) {
  return kind == LineKind::kTerminal ? make_terminal() : make_sockets();
}

}  // namespace slicer::runner
