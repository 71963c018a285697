// A VM's own disk: made with it, kept across its runs, gone with it.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/system/fixture/snapshot.h"
#include "tests/system/runner/life_support.h"

namespace slicer::test {
namespace {

/// A disk of an image: 1 MiB with a word at its beginning.
void put_image(const std::string& path, const std::string& word = "base") {
  std::ofstream(path) << word;
  std::filesystem::resize_file(path, 1 << 20);
}

}  // namespace

TEST_CASE("life --storage: a disk of the VM's own on the image's, kept whatever ends the VM, gone with vm rm") {
  const StandInMachine machine;
  put_image("/run/disk.img");
  const Outcome made = Runner::start("demo-1", "host", "--disk /run/disk.img --storage 1G");
  INFO(made.err);
  REQUIRE(made.ok());
  struct stat info{};
  REQUIRE(stat((kKept + "/disk.qcow2").c_str(), &info) == 0);
  CHECK((info.st_mode & 0777U) == 0600);
  CHECK(kept()["keptDisk"]["base"] == "/run/disk.img");
  const auto killed = [](const char* which) {
    kill_and_wait(Runner::vm("demo-1")[which]);
    REQUIRE(Runner::run("gc").ok());
    CHECK(state_of("demo-1") == "stopped");
    CHECK(exists(kKept + "/disk.qcow2"));
    REQUIRE(Runner::run("vm start demo-1").ok());
  };
  killed("supervisorPid");
  REQUIRE(kill(Runner::vm("demo-1")["hypervisorPid"], SIGKILL) == 0);
  REQUIRE(eventually([] { return state_of("demo-1") == "stopped"; }));
  REQUIRE(Runner::run("vm start demo-1").ok());
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK_FALSE(exists(kKept));
}

TEST_CASE("life --storage-copy: a disk that needs the image no more") {
  const StandInMachine machine;
  put_image("/run/disk.img");
  REQUIRE(Runner::start("demo-1", "host", "--disk /run/disk.img --storage 2M --storage-copy").ok());
  CHECK(contents(kKept + "/disk.raw").starts_with("base"));
  CHECK(std::filesystem::file_size(kKept + "/disk.raw") == 2U << 20);
  REQUIRE(Runner::run("vm stop demo-1").ok());
  put_image("/run/disk.img", "another");
  CHECK(Runner::run("vm start demo-1").ok());
}

TEST_CASE("life --storage: without an image's disk it is an empty one") {
  const StandInMachine machine;
  REQUIRE(Runner::start("demo-1", "host", "--storage 64M").ok());
  CHECK(std::filesystem::file_size(kKept + "/disk.raw") == 64U << 20);
}

TEST_CASE("life --storage: what cannot be made is one line that says what to do, and leaves nothing") {
  const StandInMachine machine;
  put_image("/run/disk.img");
  const auto refused = [](const std::string& more, const std::string& message) {
    CAPTURE(more);
    const Outcome made = Runner::start("demo-1", "host", more);
    CHECK(made.exit_code == 1);
    CHECK_MESSAGE(made.err.find("slicer-run: " + message) != std::string::npos, made.err);  // the key's may be first
    CHECK(made.err.find("\nslicer-run: hint: ") != std::string::npos);
    CHECK(Runner::calls().empty());
    CHECK_FALSE(exists("/run/slicer/demo-1"));
    CHECK_FALSE(exists(kKept));
  };
  refused("--storage 1X", "storage '1X': the unit is not known");
  std::filesystem::resize_file("/run/disk.img", 8 << 20);
  refused("--disk /run/disk.img --storage 2M",
          "give VM 'demo-1' a disk: storage 2M: the image's disk '/run/disk.img' has 8M");
  REQUIRE(run(words("mount -t tmpfs -o size=64k tmpfs /var/lib/slicer")).ok());
  std::ofstream("/var/lib/slicer/filler") << std::string(60 << 10, 'x');
  refused("--disk /run/disk.img --storage 1G", "give VM 'demo-1' a disk: ");
  REQUIRE(run(words("mount -o remount,ro /var/lib/slicer")).ok());
  const Outcome read_only = Runner::start("demo-1", "host", "--storage 1G");
  CHECK(read_only.exit_code == 1);
  CHECK_MESSAGE(read_only.err.find("Read-only file system (EROFS)") != std::string::npos, read_only.err);
  CHECK_FALSE(exists("/run/slicer/demo-1"));
}

TEST_CASE("life: a kept disk or its image that is gone or changed is told before anything is made") {
  const StandInMachine machine;
  put_image("/run/disk.img");
  REQUIRE(Runner::start("demo-1", "host", "--disk /run/disk.img --storage 1G").ok());
  REQUIRE(Runner::run("vm stop demo-1").ok());
  const size_t calls = Runner::calls().size();
  const auto refused = [&](const std::string& message) {
    const Outcome started = Runner::run("vm start demo-1");
    CHECK(started.exit_code == 1);
    CHECK_MESSAGE(started.err.find(message) != std::string::npos, started.err);
    CHECK(state_of("demo-1") == "stopped");
    CHECK(Runner::calls().size() == calls);
  };
  std::filesystem::rename("/run/disk.img", "/run/elsewhere.img");
  refused("open disk '/run/disk.img': No such file or directory (ENOENT)");
  put_image("/run/disk.img", "other");
  refused("the image's disk '/run/disk.img' has changed since this VM's disk was made on top of it");
  std::filesystem::rename("/run/elsewhere.img", "/run/disk.img");
  std::filesystem::rename(kKept + "/disk.qcow2", "/var/lib/slicer/away");
  refused("open disk '" + kKept + "/disk.qcow2': No such file or directory (ENOENT)");
  std::filesystem::rename("/var/lib/slicer/away", kKept + "/disk.qcow2");
  CHECK(Runner::run("vm start demo-1").ok());
}

}  // namespace slicer::test
