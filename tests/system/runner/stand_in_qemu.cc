// Stands in for QEMU where no guest is needed: answers on the control socket and on the guest's serial line, at once
// and without a guest's CPU time. What it is told on the serial line it echoes; some bytes mean more:
//   q: ends, as a guest that switches itself off      x: ends with code 1, as a QEMU that fails
//   R: ends as at a guest's reboot
//   F: writes 8 MiB as fast as they are taken, then "FLOOD-END"
//   D: takes no more input, as a guest that does not read its serial port
// "loop" in -append: a guest that is reset at once. "deaf" in -append: the power button is not heard. "mute": the
// control socket is not answered.
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>

namespace {

int number_behind(std::string_view text, std::string_view word) {
  const size_t at = text.find(word);
  return at == std::string_view::npos ? -1 : std::atoi(std::string(text.substr(at + word.size())).c_str());
}

void say(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<size_t>(count));
  }
}

struct StandIn {
  int control = -1;
  int console = -1;
  bool deaf = false;
  bool mute = false;
  bool loops = false;
  bool reads_console = true;
  std::string line = {};

  void reset() const {
    say(control, "{\"event\": \"SHUTDOWN\", \"data\": {\"guest\": true, \"reason\": \"guest-reset\"}}\r\n");
    _exit(0);
  }

  void on_command() {
    if (line.find("\"execute\"") == std::string::npos || mute) return;
    say(control, "{\"return\": {}}\r\n");
    if (loops) reset();
    if (line.find("\"quit\"") != std::string::npos) _exit(0);
    if (line.find("\"system_powerdown\"") != std::string::npos && !deaf) _exit(0);
  }

  void on_control() {
    std::array<char, 1024> chunk;
    const ssize_t count = read(control, chunk.data(), chunk.size());
    if (count <= 0) _exit(1);
    for (const char c : std::string_view(chunk.data(), static_cast<size_t>(count))) {
      line += c;
      if (c != '\n') continue;
      on_command();
      line.clear();
    }
  }

  void on_console() {
    char c = 0;
    if (read(console, &c, 1) <= 0) {
      console = -1;
      return;
    }
    if (c == 'q') _exit(0);
    if (c == 'x') _exit(1);
    if (c == 'R') reset();
    if (c == 'D') reads_console = false;
    if (c == 'F') {
      const std::string piece(65536, 'z');
      for (int i = 0; i < 128; ++i) say(console, piece);
      say(console, "FLOOD-END\r\n");
    }
    say(console, {&c, 1});
  }
};

}  // namespace

int main(int argc, char** argv) {
  (void)std::signal(SIGPIPE, SIG_IGN);
  StandIn machine;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word.starts_with("socket,id=control,")) machine.control = number_behind(word, "fd=");
    if (word.starts_with("socket,id=console,")) machine.console = number_behind(word, "fd=");
    machine.deaf = machine.deaf || word.starts_with("deaf");
    machine.loops = machine.loops || word.starts_with("loop");
    machine.mute = machine.mute || word.starts_with("mute");
  }
  if (!machine.mute) say(machine.control, "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
  say(machine.console, "STAND-IN-READY\r\n");
  for (;;) {
    std::array<pollfd, 2> waiting = {
        {{.fd = machine.control, .events = POLLIN, .revents = 0},
         {.fd = machine.reads_console ? machine.console : -1, .events = POLLIN, .revents = 0}}};
    (void)poll(waiting.data(), waiting.size(), -1);
    if (waiting[0].revents != 0) machine.on_control();
    if (waiting[1].revents != 0) machine.on_console();
  }
}
