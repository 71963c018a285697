#include "runner/supervisor/bounded_log.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "lib/base/unique_fd.h"

namespace slicer::runner {
namespace {

constexpr std::chrono::seconds kInterval{2};

}  // namespace

void bound_log(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0 || info.st_size <= kMaxLogBytes) return;
  const UniqueFd log(open(path.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!log.valid()) return;
  std::string end(static_cast<size_t>(kKeptLogBytes), '\0');
  const ssize_t count = pread(log.get(), end.data(), end.size(), info.st_size - kKeptLogBytes);
  if (ftruncate(log.get(), 0) != 0 || count <= 0) return;
  const std::string text = "[the log was cut here]\n" + end.substr(0, static_cast<size_t>(count));
  (void)!write(log.get(), text.data(), text.size());  // a full /run loses the log, not the VM
}

LogBound::LogBound(std::string path) : path_(std::move(path)), changes_(inotify_init1(IN_CLOEXEC | IN_NONBLOCK)) {
  if (changes_.valid() && inotify_add_watch(changes_.get(), path_.c_str(), IN_MODIFY) >= 0) return;
  changes_.reset();
  next_look_ = Clock::now() + kInterval;
}

void LogBound::on_readable() {
  std::array<char, 4096> events;
  (void)!read(changes_.get(), events.data(), events.size());  // only that there was one
  bound_log(path_);
}

void LogBound::on_time() {
  bound_log(path_);
  next_look_ = Clock::now() + kInterval;
}

}  // namespace slicer::runner
