#include "runner/ssh/guest_words.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

namespace slicer::runner {

Result<GuestWords> GuestWords::open() {
  GuestWords words;
  if (isatty(STDERR_FILENO) != 1) return words;
  words.pipe_ = TRY(make_pipe());
  if (fcntl(words.fd(), F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "read what the guest says");
  return words;
}

void GuestWords::close_child_end() {
  if (pipe_) pipe_->write_end.reset();
}

void GuestWords::take() {
  constexpr int kAtOnce = 16;  // who never ends may not keep a signal out
  std::array<char, 4096> bytes{};
  for (int i = 0; i < kAtOnce && pipe_; ++i) {
    const ssize_t count = read(fd(), bytes.data(), bytes.size());
    if (count < 0 && errno == EAGAIN) return;
    const bool over = count <= 0;
    const std::string text =
        over ? text_.rest() : text_.take(std::string_view(bytes.data(), static_cast<size_t>(count)));
    (void)!write(STDERR_FILENO, text.data(), text.size());  // nowhere left to report to
    if (over) pipe_.reset();
  }
}

}  // namespace slicer::runner
