#include "runner/ssh/runner_key.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {

TEST_CASE("runner key: made once, whoever asks at the same time, and kept") {
  const test::TempFolder folder;
  Settings settings;
  settings.data_dir = folder.path();
  CHECK(load_runner_key(settings).error().kind == Kind::kNotFound);
  for (int i = 0; i < 4; ++i)
    if (fork() == 0) _exit(ensure_runner_key(settings) ? 0 : 1);
  for (int i = 0; i < 4; ++i) {
    int status = 0;
    REQUIRE(wait(&status) > 0);
    CHECK(status == 0);
  }
  const RunnerKey key = ensure_runner_key(settings).value();
  CHECK(key.public_line.starts_with("ssh-ed25519 AAAA"));
  CHECK(key.public_line.find("slicer-run@") != std::string::npos);
  CHECK(key.public_line.find('\n') == std::string::npos);
  struct stat info{};
  REQUIRE(stat(key.file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  REQUIRE(stat(folder.file("ssh").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0700);

  // What a crash left half, and a public half that somebody removed.
  std::filesystem::remove(key.file + ".pub");
  const RunnerKey again = ensure_runner_key(settings).value();
  CHECK(again.public_line.substr(0, 60) == key.public_line.substr(0, 60));
  std::filesystem::rename(key.file, key.file + ".new");
  CHECK(ensure_runner_key(settings).value().public_line != key.public_line);
}

}  // namespace slicer::runner
