#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/commands/table.h"
#include "runner/networks/outside_routes.h"
#include "runner/view/vm_view.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

struct Child {
  pid_t pid = fork();
  Child() {
    if (pid == 0) {
      (void)pause();
      _exit(0);
    }
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() { end(); }
  void end() {
    if (pid <= 0) return;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, nullptr, 0);
    pid = 0;
  }
};

VmView using_cpu(const ProcessId& process, double cpu, double age) {
  VmView view;
  view.record.name = "vm-1";
  view.record.hypervisor = process;
  view.hypervisor = ProcessStats{.cpu = std::chrono::duration<double>(cpu), .age = std::chrono::duration<double>(age)};
  view.cpu_percent = view.hypervisor->cpu_percent();
  return view;
}

}  // namespace

TEST_CASE("process stats: of this process, and of no other with its number") {
  const ProcessId self = identify_process(getpid()).value();
  const auto burn = std::chrono::steady_clock::now() + 50ms;
  while (std::chrono::steady_clock::now() < burn) continue;
  const auto stats = read_process_stats(self);
  REQUIRE(stats);
  CHECK(stats->rss_bytes > (size_t{1} << 20));
  CHECK(stats->cpu > 20ms);
  CHECK(stats->cpu <= stats->age + 100ms);
  CHECK(stats->age < 24h);
  CHECK_FALSE(read_process_stats({.pid = self.pid, .start_time = self.start_time + 1}));
  CHECK_FALSE(read_process_stats({}));
  Child child;
  const ProcessId id = identify_process(child.pid).value();
  CHECK(read_process_stats(id));
  (void)kill(child.pid, SIGKILL);
  siginfo_t info = {};
  REQUIRE(waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT) == 0);
  CHECK_FALSE(read_process_stats(id));  // a zombie has ended
}

TEST_CASE("vm view: dead the moment its supervisor is, stopping when its hypervisor is gone first") {
  Child supervisor;
  Child hypervisor;
  VmRecord record;
  record.phase = Phase::kRunning;
  record.supervisor = identify_process(supervisor.pid).value();
  record.hypervisor = identify_process(hypervisor.pid).value();
  CHECK(look_at(record).state == "running");
  hypervisor.end();
  CHECK(look_at(record).state == "stopping");
  CHECK_FALSE(look_at(record).cpu_percent);
  supervisor.end();
  CHECK(look_at(record).state == "dead");
}

TEST_CASE("vm view: CPU since the start, then since the last look, of the same process") {
  CpuMeter meter;
  std::vector<VmView> views = {using_cpu({.pid = 7, .start_time = 1}, 10, 100)};
  meter.measure(views);
  CHECK(*views[0].cpu_percent == doctest::Approx(10));
  views = {using_cpu({.pid = 7, .start_time = 1}, 12, 102)};
  meter.measure(views);
  CHECK(*views[0].cpu_percent == doctest::Approx(100));
  views = {using_cpu({.pid = 7, .start_time = 2}, 20, 200)};  // another run
  meter.measure(views);
  CHECK(*views[0].cpu_percent == doctest::Approx(10));
}

TEST_CASE("table: colours do not move the columns") {
  const std::vector<std::vector<std::string>> rows = {{"A", "B"}, {"long", "x"}};
  CHECK(table_text(rows) == "A     B\nlong  x\n");
  const auto red = [](size_t row, size_t column, const std::string&) {
    return row == 1 && column == 0 ? Colour::kRed : Colour::kNone;
  };
  CHECK(table_text(rows, red) == "A     B\n\033[31mlong\033[0m  x\n");
}

TEST_CASE("route: one line for each system") {
  const auto ip = [](const char* text) { return addr::parse_ip(text).value(); };
  const OutsideRoute four = {.subnet = addr::parse_cidr("192.0.2.0/25").value(), .via = ip("198.51.100.2")};
  const OutsideRoute six = {.subnet = addr::parse_cidr("2001:db8:7::/64").value(), .via = ip("2001:db8:100::2")};
  CHECK(route_command(four, RouteSyntax::kLinux) == "ip route add 192.0.2.0/25 via 198.51.100.2");
  CHECK(route_command(six, RouteSyntax::kLinux) == "ip -6 route add 2001:db8:7::/64 via 2001:db8:100::2");
  CHECK(route_command(four, RouteSyntax::kMacos) == "sudo route -n add -inet -net 192.0.2.0/25 198.51.100.2");
  CHECK(route_command(six, RouteSyntax::kMacos) == "sudo route -n add -inet6 -net 2001:db8:7::/64 2001:db8:100::2");
  CHECK(route_command(four, RouteSyntax::kWindows) == "route add 192.0.2.0 mask 255.255.255.128 198.51.100.2");
  CHECK(route_command(six, RouteSyntax::kWindows) == "route -6 add 2001:db8:7::/64 2001:db8:100::2");
}

}  // namespace slicer::runner
