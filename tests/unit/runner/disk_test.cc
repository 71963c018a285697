#include "runner/guest/disk.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "runner/guest/qcow2.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

using test::TempFolder;

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;

/// An image's disk of 1 MiB with data in its middle only.
std::string put_image(const TempFolder& folder) {
  const std::string path = folder.file("image.img");
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  REQUIRE(ftruncate(file.get(), kMib) == 0);
  REQUIRE(pwrite(file.get(), "hello", 5, kMib / 2) == 5);
  return path;
}

struct stat info_of(const std::string& path) {
  struct stat info{};
  REQUIRE(stat(path.c_str(), &info) == 0);
  return info;
}

bool has_qemu_img() { return std::system("qemu-img --version >/dev/null 2>&1") == 0; }

/// QEMU's own opinion of an image.
bool is_sound(const std::string& path) {
  return !has_qemu_img() || std::system(("qemu-img check -q " + path + " >&2").c_str()) == 0;
}

}  // namespace

TEST_CASE("create_disk: without an image's disk it is empty, and takes no room") {
  const TempFolder folder;
  const auto kept = create_disk({.folder = folder.path(), .bytes = kGib});
  REQUIRE(kept);
  CHECK(*kept == KeptDisk{.format = "raw"});
  CHECK(info_of(folder.file("disk.raw")).st_size == kGib);
  CHECK(info_of(folder.file("disk.raw")).st_blocks == 0);
  CHECK((info_of(folder.file("disk.raw")).st_mode & 0777U) == 0600);
  const auto disk = open_kept_disk(folder.path(), *kept, kGib);
  REQUIRE(disk);
  CHECK(disk->path == folder.file("disk.raw"));
  CHECK(disk->format == "raw");
  CHECK(disk->base == "");
}

TEST_CASE("create_disk: on an image's disk it is a qcow2 that QEMU's own check finds sound") {
  const TempFolder folder;
  const std::string image = put_image(folder);
  for (const uint64_t bytes : {kMib, 10 * kGib, 5000 * kGib}) {
    const auto kept = create_disk({.folder = folder.path(), .image = image, .bytes = bytes});
    REQUIRE(kept);
    CHECK(kept->format == "qcow2");
    CHECK(kept->base == image);
    CHECK(kept->base_format == "raw");
    const std::string path = folder.file("disk.qcow2");
    CHECK(info_of(path).st_blocks * 512 < static_cast<blkcnt_t>(kMib));
    CHECK(is_sound(path));
    const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
    CHECK(*qcow2_size(file.get()) == bytes);
    folder.remove("disk.qcow2");
  }
}

TEST_CASE("create_disk: a copy has the image's data, and its holes") {
  const TempFolder folder;
  const auto kept = create_disk({.folder = folder.path(), .image = put_image(folder), .bytes = 2 * kMib, .copy = true});
  REQUIRE(kept);
  CHECK(*kept == KeptDisk{.format = "raw"});
  const auto text = read_file(folder.file("disk.raw"), 4 * kMib);
  REQUIRE(text);
  CHECK(text->size() == 2 * kMib);
  CHECK(text->substr(kMib / 2, 5) == "hello");
  CHECK(text->find_first_not_of('\0') == kMib / 2);
  CHECK(info_of(folder.file("disk.raw")).st_blocks * 512 < static_cast<blkcnt_t>(kMib));
}

TEST_CASE("create_disk: what cannot be is an error, and leaves no file") {
  const TempFolder folder;
  const std::string image = put_image(folder);
  const auto small = create_disk({.folder = folder.path(), .image = image, .bytes = kMib / 2});
  CHECK(small.error().kind == Kind::kInvalidConfig);
  CHECK(small.error().message == "storage 512K: the image's disk '" + image + "' has 1M");
  CHECK(small.error().hint == "ask for 1M or more");
  folder.write("fake.qcow2", "no qcow2 at all");
  const auto fake = create_disk({.folder = folder.path(), .image = folder.file("fake.qcow2"), .bytes = kGib});
  CHECK(fake.error().kind == Kind::kDecode);
  const auto absent = create_disk({.folder = folder.path(), .image = folder.file("none.img"), .bytes = kGib});
  CHECK(absent.error().sys_errno == ENOENT);
  const auto nowhere = create_disk({.folder = folder.file("none"), .bytes = kGib});
  CHECK_FALSE(nowhere);
  for (const char* name : {"disk.raw", "disk.qcow2"}) CHECK(access(folder.file(name).c_str(), F_OK) != 0);
}

TEST_CASE("open_kept_disk: what lies below has changed, or is gone") {
  const TempFolder folder;
  const std::string image = put_image(folder);
  const auto kept = create_disk({.folder = folder.path(), .image = image, .bytes = kGib});
  REQUIRE(kept);
  REQUIRE(open_kept_disk(folder.path(), *kept, kGib));
  folder.write("image.img", "another image");
  const auto changed = open_kept_disk(folder.path(), *kept, kGib);
  CHECK(changed.error().kind == Kind::kMismatch);
  folder.remove("image.img");
  CHECK(open_kept_disk(folder.path(), *kept, kGib).error().kind == Kind::kNotFound);
  folder.remove("disk.qcow2");
  const auto gone = open_kept_disk(folder.path(), *kept, kGib);
  CHECK(gone.error().message == "open disk '" + folder.file("disk.qcow2") + "': No such file or directory (ENOENT)");
}

TEST_CASE("open_kept_disk: a disk becomes larger, never smaller") {
  const TempFolder folder;
  const auto raw = create_disk({.folder = folder.path(), .bytes = kMib});
  REQUIRE(open_kept_disk(folder.path(), *raw, 2 * kMib));
  CHECK(info_of(folder.file("disk.raw")).st_size == 2 * kMib);
  REQUIRE(open_kept_disk(folder.path(), *raw, kMib));
  CHECK(info_of(folder.file("disk.raw")).st_size == 2 * kMib);

  const auto layered = create_disk({.folder = folder.path(), .image = put_image(folder), .bytes = kMib});
  REQUIRE(open_kept_disk(folder.path(), *layered, 20 * kGib));
  const std::string path = folder.file("disk.qcow2");
  const UniqueFd file(open(path.c_str(), O_RDWR | O_CLOEXEC));
  CHECK(*qcow2_size(file.get()) == 20 * kGib);
  CHECK(is_sound(path));
  if (has_qemu_img()) {
    // The new end can be written, the image shows through, and the tables stay sound.
    CHECK(std::system(("qemu-io -c 'write -P 7 19G 64k' -c 'read -P 7 19G 64k' -c 'read -P 0 1M 64k' " + path + " >&2")
                          .c_str()) == 0);
    CHECK(is_sound(path));
  }
}

}  // namespace slicer::runner
