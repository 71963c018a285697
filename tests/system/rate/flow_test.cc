// A limited rate is kept in both directions on every kind of network, and costs nobody else anything. Nothing depends
// on how long something takes: what has passed is measured against what the bucket may have let through by then.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cstdio>
#include <cstring>

#include "tests/system/rate/rate_support.h"

using namespace slicer::test;
using namespace slicer::test::rate;
using slicer::UniqueFd;

namespace {

constexpr size_t kBlast = 300;
// So slow that most of a blast waits or is dropped for minutes.
constexpr uint64_t kRate = 10'000;
constexpr uint64_t kBurst = 40'000;
constexpr size_t kAtOnce = kBurst / Talker::kFrame;

template <class Count>
size_t await(size_t wanted, const Count& count, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
  size_t seen = 0;
  (void)eventually([&] { return (seen += count()) >= wanted; }, limit);
  return seen;
}

/// What comes at once of a blast is the burst, and not more than that.
template <class Send, class Count>
void check_held_back(const Send& send, const Count& count) {
  const auto begin = Clock::now();
  send(kBlast);
  size_t seen = await(kAtOnce - 1, count);
  CHECK(seen + 1 >= kAtOnce);  // a frame less where the VM has introduced itself
  seen += await(kBlast, count, std::chrono::milliseconds(200));
  CHECK(static_cast<double>(seen * Talker::kFrame) <= budget(kRate, kBurst, begin) + Talker::kFrame);
}

template <class Send, class Count>
void check_not_held_back(const Send& send, const Count& count) {
  send(kBlast);
  CHECK(await(kBlast, count) == kBlast);
}

/// The machine learns where the VM is.
void introduce(const Talker& talker, Machine& machine, char vm) {
  talker.send(1);
  REQUIRE(await(1, [&] { return machine.count(vm); }) == 1);
}

struct Line {
  UniqueFd here = {};
  UniqueFd there = {};
};
/// A TCP connection between two namespaces.
Line connect_tcp(const std::string& from, const std::string& to, const std::string& to_ip) {
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(4243);
  UniqueFd listener;
  Line line;
  in_netns(to, [&] { listener = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
  in_netns(from, [&] { line.here = UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)); });
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      listen(listener.get(), 1) != 0)
    give_up(std::string("listen: ") + strerror(errno));
  address.sin_addr.s_addr = inet_addr(to_ip.c_str());
  if (connect(line.here.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    give_up(std::string("connect: ") + strerror(errno));
  line.there = UniqueFd(accept(listener.get(), nullptr, nullptr));
  for (const UniqueFd* fd : {&line.here, &line.there}) (void)fcntl(fd->get(), F_SETFL, O_NONBLOCK);
  return line;
}

/// How much of `bytes` arrives.
size_t transfer(int from, int to, size_t bytes) {
  std::string chunk(65536, 't');
  std::string buffer(65536, ' ');
  size_t sent = 0;
  size_t seen = 0;
  (void)eventually(
      [&] {
        if (sent < bytes)
          if (const ssize_t n = send(from, chunk.data(), std::min(chunk.size(), bytes - sent), MSG_NOSIGNAL); n > 0)
            sent += static_cast<size_t>(n);
        while (true) {
          const ssize_t n = recv(to, buffer.data(), buffer.size(), 0);
          if (n <= 0) break;
          seen += static_cast<size_t>(n);
        }
        return seen >= bytes;
      },
      std::chrono::seconds(20));
  return seen;
}

}  // namespace

TEST_CASE("rate: what comes from a VM is held back, and what comes from its neighbour is not") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : all_modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    Machine machine(around);
    const Attachment slow(mode, limited(mode.conf, {.egress_rate = kRate, .egress_burst = kBurst}), "slow");
    const Attachment free(mode, mode.conf, "free");
    const Talker slow_vm(slow, around);
    const Talker free_vm(free, around);
    // The other direction has no limit.
    introduce(slow_vm, machine, 's');
    check_not_held_back([&](size_t n) { machine.send(n, Talker::kPayload); }, [&] { return slow_vm.count(); });
    check_held_back([&](size_t n) { slow_vm.send(n); }, [&] { return machine.count('s'); });
    check_not_held_back([&](size_t n) { free_vm.send(n); }, [&] { return machine.count('f'); });
  }
}

TEST_CASE("rate: what goes to a VM is held back, and what goes to its neighbour is not") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  for (const Mode& mode : all_modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    Machine machine(around);
    const Attachment slow(mode, limited(mode.conf, {.ingress_rate = kRate, .ingress_burst = kBurst}), "slow");
    const Attachment free(mode, mode.conf, "free");
    const Talker slow_vm(slow, around);
    const Talker free_vm(free, around);
    introduce(slow_vm, machine, 's');
    check_held_back([&](size_t n) { machine.send(n, Talker::kPayload); }, [&] { return slow_vm.count(); });
    // The other direction has no limit.
    check_not_held_back([&](size_t n) { slow_vm.send(n); }, [&] { return machine.count('s'); });
    introduce(free_vm, machine, 'f');
    check_not_held_back([&](size_t n) { machine.send(n, Talker::kPayload); }, [&] { return free_vm.count(); });
  }
}

TEST_CASE("rate: TCP goes both ways through a bucket that is smaller than what the kernel hands down at once") {
  if (const std::string reason = why_not(); !reason.empty()) SLICER_SKIP(reason);
  constexpr uint64_t kFast = 1'000'000;
  constexpr size_t kBytes = 150'000;
  for (const Mode& mode : all_modes()) {
    CAPTURE(mode.name);
    const Host host;
    const Surroundings around;
    // A burst below a frame is room for one all the same.
    const Limits limits{.ingress_rate = kFast, .ingress_burst = 200, .egress_rate = kFast, .egress_burst = 200};
    const Attachment vm(mode, limited(mode.conf, limits), "vm");
    const Guest guest(Guest::from_result(vm.result, vm.how, "guest"));
    const Line line = connect_tcp(guest.netns(), around.machine.path(), Surroundings::kLanMachine);
    auto begin = Clock::now();
    CHECK(transfer(line.here.get(), line.there.get(), kBytes) == kBytes);
    CHECK(kBytes <= budget(kFast, 2000, begin));
    begin = Clock::now();
    CHECK(transfer(line.there.get(), line.here.get(), kBytes) == kBytes);
    CHECK(kBytes <= budget(kFast, 2000, begin));
  }
}
