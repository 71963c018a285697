#include "runner/guest/image.h"

#include <doctest/doctest.h>

#include "lib/base/whole_file.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

using test::TempFolder;

void put(const std::string& path, const std::string& text = "x") { REQUIRE(write_whole_file(path, text)); }

}  // namespace

TEST_CASE("resolve_image: the folder's files, its command line on one line") {
  const TempFolder folder;
  put(folder.path() + "/vmlinuz");
  put(folder.path() + "/initrd");
  put(folder.path() + "/cmdline", "quiet\nmitigations=off\n");
  const auto files = resolve_image(folder.path(), {});
  REQUIRE(files);
  CHECK(files->kernel == folder.path() + "/vmlinuz");
  CHECK(files->initrd == folder.path() + "/initrd");
  CHECK(files->disk == "");
  CHECK(files->cmdline == "quiet mitigations=off");
}

TEST_CASE("resolve_image: an uncompressed kernel comes before a compressed one") {
  const TempFolder folder;
  put(folder.path() + "/vmlinuz");
  put(folder.path() + "/vmlinux");
  CHECK(resolve_image(folder.path(), {})->kernel == folder.path() + "/vmlinux");
}

TEST_CASE("resolve_image: a disk of the folder") {
  const TempFolder folder;
  put(folder.path() + "/kernel");
  put(folder.path() + "/disk.qcow2");
  CHECK(resolve_image(folder.path(), {})->disk == folder.path() + "/disk.qcow2");
}

TEST_CASE("resolve_image: another kernel does not get the folder's initrd and disk") {
  const TempFolder folder;
  for (const char* name : {"/vmlinux", "/initrd", "/disk.img", "/mine"}) put(folder.path() + name);
  put(folder.path() + "/cmdline", "quiet");
  const auto files = resolve_image(folder.path(), {.kernel = folder.path() + "/mine"});
  REQUIRE(files);
  CHECK(files->kernel == folder.path() + "/mine");
  CHECK(files->initrd == "");
  CHECK(files->disk == "");
  CHECK(files->cmdline == "quiet");
}

TEST_CASE("resolve_image: each file can be replaced alone, and left out by an empty name") {
  const TempFolder folder;
  for (const char* name : {"/vmlinux", "/initrd", "/other"}) put(folder.path() + name);
  const auto files = resolve_image(folder.path(), {.initrd = "", .disk = folder.path() + "/other", .cmdline = "a b"});
  REQUIRE(files);
  CHECK(files->initrd == "");
  CHECK(files->disk == folder.path() + "/other");
  CHECK(files->cmdline == "a b");
}

TEST_CASE("resolve_image: a missing file is named, with what to do") {
  const TempFolder folder;
  const auto none = resolve_image(folder.path(), {});
  REQUIRE_FALSE(none);
  CHECK(none.error().message == "find a kernel in image '" + folder.path() + "': not there");
  CHECK(none.error().hint.find("scripts/guest-image") != std::string::npos);
  const auto missing = resolve_image(folder.path(), {.kernel = "/nonexistent/kernel"});
  REQUIRE_FALSE(missing);
  CHECK(missing.error().kind == Kind::kNotFound);
  CHECK(missing.error().message == "open kernel '/nonexistent/kernel': No such file or directory (ENOENT)");
}

TEST_CASE("resolve_image: what is no file is named with what it was to be, before anything is made") {
  const TempFolder folder;
  put(folder.path() + "/vmlinux");
  const auto message = [&](const ImageOverrides& overrides) {
    const auto files = resolve_image(folder.path(), overrides);
    return files ? "accepted" : files.error().message;
  };
  CHECK(message({.kernel = "/etc"}) == "open kernel '/etc': not a regular file");
  CHECK(message({.initrd = "/dev/null"}) == "open initrd '/dev/null': not a regular file");
  CHECK(message({.disk = "/etc"}) == "open disk '/etc': neither a file nor a block device");
  CHECK(resolve_image(folder.path(), {.disk = "/etc"}).error().hint == "name a file: --disk FILE");
}

}  // namespace slicer::runner
