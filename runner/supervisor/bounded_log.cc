#include "runner/supervisor/bounded_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/unique_fd.h"

namespace slicer::runner {

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

}  // namespace slicer::runner
