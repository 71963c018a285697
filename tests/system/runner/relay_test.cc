// The relay of vm port-forward: many connections, datagrams, unix sockets, and memory that stays as it is.
#include "runner/forward/relay.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "runner/forward/guest_way.h"
#include "tests/system/fixture/host.h"
#include "tests/system/fixture/process.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;
using runner::Dialled;
using runner::ForwardSpec;
using runner::Relay;
using runner::Transport;

constexpr uint16_t kPort = 7000;
constexpr size_t kMany = 1000;

void allow_descriptors() {
  const rlimit all{.rlim_cur = 8192, .rlim_max = 8192};
  if (setrlimit(RLIMIT_NOFILE, &all) != 0) give_up("raise the limit of descriptors");
}

sockaddr_in at(const char* address, uint16_t port) {
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  if (inet_pton(AF_INET, address, &to.sin_addr) != 1) give_up(address);
  return to;
}

UniqueFd connect_to(const char* address, uint16_t port, int type = SOCK_STREAM) {
  UniqueFd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  const sockaddr_in to = at(address, port);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) give_up("connect");
  return fd;
}

UniqueFd bound(const std::string& netns, int type) {
  UniqueFd fd;
  in_netns(netns, [&] { fd = UniqueFd(socket(AF_INET, type | SOCK_CLOEXEC, 0)); });
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in to = at("0.0.0.0", kPort);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) give_up("bind in the guest");
  if (type == SOCK_STREAM && listen(fd.get(), 2000) != 0) give_up("listen in the guest");
  return fd;
}

/// A guest behind a cable, and the way to it.
struct Cable {
  Host host;
  Netns guest{"guest"};
  runner::GuestWay way = {};
  Cable() {
    connect({.link = "vmtap0", .address = "192.0.2.1/24"},
            {.netns = guest.path(), .link = "eth0", .address = "192.0.2.2/24"});
    way.ip = addr::parse_ip("192.0.2.2").value();
  }
  [[nodiscard]] runner::Dial dial() const {
    return [this](const ForwardSpec& spec) -> Result<Dialled> {
      if (spec.transport == Transport::kTcp) return runner::begin_connection(way, spec.target_port);
      Dialled dialled;
      dialled.socket = TRY(runner::open_datagrams(way, spec.target_port));
      return dialled;
    };
  }
};

/// KiB of a process's memory that is no file's.
long memory_of(pid_t pid) {
  std::istringstream status(contents("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("RssAnon:")) return std::stol(line.substr(8));
  return -1;
}

/// Takes and gives back; one process for all connections, which takes nothing more once they are all there.
void echo_one_word_each(int listener) {
  std::vector<int> clients;
  for (size_t i = 0; i < kMany; ++i) {
    clients.push_back(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    std::array<char, 4> word = {};
    if (recv(clients.back(), word.data(), word.size(), MSG_WAITALL) != 4) return;
    (void)send(clients.back(), word.data(), word.size(), MSG_NOSIGNAL);
  }
  for (;;) pause();
}

std::string word_of(size_t number) {
  std::string text = std::to_string(number);
  return std::string(4 - text.size(), '0') + text;
}

}  // namespace

TEST_CASE("relay: a thousand connections at once, and memory stays flat when none of them is read") {
  allow_descriptors();
  const Cable cable;
  const UniqueFd listener = bound(cable.guest.path(), SOCK_STREAM);
  const Background server([&] { echo_one_word_each(listener.get()); });
  Relay relay(cable.dial());
  const uint16_t port = relay.listen({.target_port = kPort}).value();
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  const Background running([&] { (void)relay.run({end.get()}); });

  std::vector<UniqueFd> clients;
  const auto begin = [&] {
    const std::string word = word_of(clients.size());
    clients.push_back(connect_to("127.0.0.1", port));
    if (send(clients.back().get(), word.data(), word.size(), MSG_NOSIGNAL) != 4) give_up("send a word");
  };
  size_t answered = 0;
  const auto take_answer = [&](size_t number) {
    std::array<char, 4> word = {};
    if (recv(clients[number].get(), word.data(), word.size(), MSG_WAITALL) == 4 &&
        std::string(word.data(), word.size()) == word_of(number))
      ++answered;
  };
  begin();
  take_answer(0);
  const long before = memory_of(running.pid());
  while (clients.size() < kMany) begin();
  for (size_t i = 1; i < kMany; ++i) take_answer(i);
  CHECK(answered == kMany);
  // Nobody in the guest reads any more: what the relay held for each would show.
  const std::string much(size_t{1} << 20, 'x');
  for (const UniqueFd& client : clients)
    (void)send(client.get(), much.data(), much.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  const UniqueFd last = connect_to("127.0.0.1", port);  // behind them: the relay has seen them all
  CHECK(eventually([&] { return memory_of(running.pid()) >= before; }));
  CHECK(memory_of(running.pid()) - before < 4096);
}

TEST_CASE("relay: a GiB goes through, and memory stays flat") {
  const Cable cable;
  const UniqueFd listener = bound(cable.guest.path(), SOCK_STREAM);
  const Background server([&] {  // counts, and says how much it was at the end
    const UniqueFd client(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::vector<char> room(size_t{1} << 20);
    uint64_t total = 0;
    for (ssize_t count = 0; (count = recv(client.get(), room.data(), room.size(), 0)) > 0;)
      total += static_cast<uint64_t>(count);
    (void)send(client.get(), &total, sizeof total, MSG_NOSIGNAL);
    pause();
  });
  Relay relay(cable.dial());
  const uint16_t port = relay.listen({.target_port = kPort}).value();
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  const Background running([&] { (void)relay.run({end.get()}); });
  const UniqueFd client = connect_to("127.0.0.1", port);
  const std::vector<char> piece(size_t{1} << 20, 'x');
  long before = 0;
  long most = 0;
  for (int i = 0; i < 1024; ++i) {
    for (size_t sent = 0; sent < piece.size();) {
      const ssize_t count = send(client.get(), piece.data() + sent, piece.size() - sent, MSG_NOSIGNAL);
      REQUIRE(count > 0);
      sent += static_cast<size_t>(count);
    }
    if (i == 8) before = memory_of(running.pid());  // its room has been used
    most = std::max(most, memory_of(running.pid()));
  }
  REQUIRE(shutdown(client.get(), SHUT_WR) == 0);
  uint64_t total = 0;
  CHECK(recv(client.get(), &total, sizeof total, MSG_WAITALL) == static_cast<ssize_t>(sizeof total));
  CHECK(total == uint64_t{1} << 30U);
  CHECK(before > 0);
  CHECK(most - before < 1024);
}

TEST_CASE("relay: datagrams of several senders, each gets its own answers") {
  const Cable cable;
  const UniqueFd socket = bound(cable.guest.path(), SOCK_DGRAM);
  const Background server([&] {
    std::array<char, 65536> room = {};
    for (;;) {
      sockaddr_in from = {};
      socklen_t size = sizeof from;
      const ssize_t count =
          recvfrom(socket.get(), room.data(), room.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
      (void)sendto(socket.get(), room.data(), static_cast<size_t>(count), 0, reinterpret_cast<sockaddr*>(&from), size);
    }
  });
  Relay relay(cable.dial());
  const uint16_t port = relay.listen({.target_port = kPort, .transport = Transport::kUdp}).value();
  const uint16_t closed = relay.listen({.target_port = 7001, .transport = Transport::kUdp}).value();
  CHECK(relay.listen({.listen_port = port, .target_port = 1, .transport = Transport::kUdp}).error().kind ==
        Kind::kBusy);
  const UniqueFd end(eventfd(0, EFD_CLOEXEC));
  const Background running([&] { (void)relay.run({end.get()}); });
  const auto say = [](const UniqueFd& client, const std::string& text) {
    CHECK(send(client.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  };
  const auto heard = [](const UniqueFd& client) {
    std::array<char, 65536> room = {};
    const ssize_t count = recv(client.get(), room.data(), room.size(), 0);
    return count < 0 ? std::string("nothing") : std::string(room.data(), static_cast<size_t>(count));
  };
  const UniqueFd one = connect_to("127.0.0.1", port, SOCK_DGRAM);
  const UniqueFd other = connect_to("127.0.0.1", port, SOCK_DGRAM);
  say(connect_to("127.0.0.1", closed, SOCK_DGRAM), "nobody there");
  say(one, "one");
  say(other, "");
  say(other, std::string(60000, 'x'));
  CHECK(heard(other).empty());
  CHECK((heard(other) == std::string(60000, 'x')));
  CHECK(heard(one) == "one");
}

TEST_CASE("relay: a unix socket is root's alone, replaces a stale one, and goes with the relay") {
  const Cable cable;
  const UniqueFd listener = bound(cable.guest.path(), SOCK_STREAM);
  const Background server([&] { echo_one_word_each(listener.get()); });
  const std::string path = "/run/forward.sock";
  {
    Relay killed(cable.dial());
    REQUIRE(killed.listen({.listen_path = path, .target_port = kPort}));
    CHECK(Relay(cable.dial()).listen({.listen_path = path, .target_port = kPort}).error().kind == Kind::kBusy);
    std::filesystem::rename(path, "/run/kept.sock");
  }
  std::filesystem::rename("/run/kept.sock", path);  // as a killed relay leaves it
  {
    Relay relay(cable.dial());
    REQUIRE(relay.listen({.listen_path = path, .target_port = kPort}));
    struct stat info{};
    REQUIRE(stat(path.c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0600);
    const UniqueFd end(eventfd(0, EFD_CLOEXEC));
    const Background running([&] { (void)relay.run({end.get()}); });
    const UniqueFd client(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un to = {};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(connect(client.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
    REQUIRE(send(client.get(), "word", 4, MSG_NOSIGNAL) == 4);
    std::array<char, 4> word = {};
    CHECK(recv(client.get(), word.data(), word.size(), MSG_WAITALL) == 4);
    CHECK(std::string(word.data(), word.size()) == "word");
  }
  CHECK_FALSE(exists(path));
  std::ofstream(path) << "a file of somebody's";
  CHECK(Relay(cable.dial()).listen({.listen_path = path, .target_port = kPort}).error().kind == Kind::kExists);
  CHECK(exists(path));
}

}  // namespace slicer::test
