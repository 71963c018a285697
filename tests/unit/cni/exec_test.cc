#include "lib/cni/exec.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"

namespace slicer::cni {
namespace {

// An executable shell script in a folder of its own.
class Script {
 public:
  explicit Script(const std::string& text) {
    REQUIRE(mkdtemp(folder_.data()) != nullptr);
    REQUIRE(write_whole_file(file(), "#!/bin/sh\n" + text, {.mode = 0755}).has_value());
  }
  Script(const Script&) = delete;
  Script& operator=(const Script&) = delete;
  ~Script() {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  [[nodiscard]] std::string file() const { return folder_ + "/script"; }

 private:
  std::string folder_ = "/tmp/exec_test-XXXXXX";
};

}  // namespace

TEST_CASE("run_program: input, environment, output and exit code") {
  const Script script("cat; echo \"$A\"; exit 3");
  const Finished finished = run_program({.file = script.file(), .environment = {"A=b"}, .input = "in "}).value();
  CHECK(finished.output == "in b\n");
  CHECK(finished.exit_code() == 3);
  const Script killed("kill -TERM $$");
  CHECK(run_program({.file = killed.file()}).value().exit_code() == 128 + 15);
}

TEST_CASE("run_program: one that exceeds its limit is killed") {
  const Script script("exec sleep 30");
  const auto start = std::chrono::steady_clock::now();
  const Result<Finished> slow = run_program({.file = script.file(), .limit = std::chrono::milliseconds(50)});
  CHECK(slow.error().kind == Kind::kBusy);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
}

TEST_CASE("run_program: output that was closed early does not end the wait") {
  const Script script("exec >&-; sleep 0.1; exit 4");
  CHECK(run_program({.file = script.file()}).value().exit_code() == 4);
}

TEST_CASE("run_program: a file that is being written is tried again") {
  const Script script("echo ok");
  UniqueFd writer(open(script.file().c_str(), O_WRONLY | O_CLOEXEC));
  REQUIRE(writer.valid());
  std::thread installer([&writer] {
    std::this_thread::sleep_for(std::chrono::milliseconds(150));  // there is no event for "was refused once"
    writer.reset();
  });
  const Result<Finished> finished = run_program({.file = script.file()});
  installer.join();
  CHECK(finished.value().output == "ok\n");
}

}  // namespace slicer::cni
