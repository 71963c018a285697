#include "runner/view/process_stats.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <ctime>
#include <string>
#include <string_view>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

// proc_pid_stat(5), counted from 1.
constexpr size_t kState = 3;
constexpr size_t kUserTime = 14;
constexpr size_t kSystemTime = 15;
constexpr size_t kStartTime = 22;
constexpr size_t kRss = 24;

/// The fields behind the name, which may hold anything.
class Stat {
 public:
  explicit Stat(std::string_view text) {
    const size_t name_end = text.rfind(')');
    if (name_end == std::string_view::npos) return;
    text.remove_prefix(name_end + 1);
    for (size_t field = kState; field < fields_.size(); ++field) {
      text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
      const size_t end = std::min(text.find(' '), text.size());
      fields_.at(field) = text.substr(0, end);
      text.remove_prefix(end);
    }
  }
  [[nodiscard]] char state() const { return fields_[kState].empty() ? 'X' : fields_[kState].front(); }
  [[nodiscard]] uint64_t number(size_t field) const {
    uint64_t value = 0;
    const std::string_view text = fields_.at(field);
    (void)std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }

 private:
  std::array<std::string_view, kRss + 1> fields_ = {};
};

std::chrono::duration<double> since_boot() {
  timespec now = {};
  (void)clock_gettime(CLOCK_BOOTTIME, &now);  // a process's start is told by this clock
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

double ProcessStats::cpu_percent() const { return age.count() > 0 ? 100 * cpu.count() / age.count() : 0; }

std::optional<ProcessStats> read_process_stats(const ProcessId& id) {
  if (id.pid <= 0) return std::nullopt;
  const Result<std::string> text = read_file("/proc/" + std::to_string(id.pid) + "/stat", 4096);
  if (!text) return std::nullopt;
  const Stat stat(*text);
  if (stat.number(kStartTime) != id.start_time || stat.state() == 'Z' || stat.state() == 'X') return std::nullopt;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const auto seconds = [&](uint64_t count) {
    return std::chrono::duration<double>(static_cast<double>(count) / ticks);
  };
  ProcessStats stats;
  stats.cpu = seconds(stat.number(kUserTime) + stat.number(kSystemTime));
  stats.age = std::max(since_boot() - seconds(id.start_time), std::chrono::duration<double>::zero());
  stats.rss_bytes = stat.number(kRss) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  return stats;
}

}  // namespace slicer::runner
