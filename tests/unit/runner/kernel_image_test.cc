#include "runner/hypervisor/kernel_image.h"

#include <doctest/doctest.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <filesystem>
#include <functional>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/unpack.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

// An ELF file as far as a magic number makes one, larger than any piece that is unpacked at once.
std::string elf() {
  std::string text =
      "\x7f"
      "ELF";
  for (unsigned i = 0; text.size() < (9U << 20U); ++i) text += std::to_string(i * 2654435761U);
  return text;
}

void put_number(std::string& text, size_t at, uint32_t value) {
  for (size_t i = 0; i < 4; ++i) text[at + i] = static_cast<char>(value >> (8 * i) & 0xffU);
}

std::string gzip(const std::string& text) {
  z_stream stream = {};
  REQUIRE(deflateInit2(&stream, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string packed(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  (void)deflateEnd(&stream);
  return packed;
}

std::string xz(const std::string& text) {
  std::string packed(lzma_stream_buffer_bound(text.size()), '\0');
  size_t size = 0;
  REQUIRE(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const uint8_t*>(text.data()),
                                  text.size(), reinterpret_cast<uint8_t*>(packed.data()), &size,
                                  packed.size()) == LZMA_OK);
  packed.resize(size);
  return packed;
}

std::string zstd(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
  return packed;
}

// As `lz4 -l` writes it, and behind it the unpacked length, as the kernel's build adds it.
std::string lz4(const std::string& text) {
  constexpr size_t kBlock = size_t{8} << 20;
  std::string packed = "\x02\x21\x4c\x18";
  for (size_t at = 0; at < text.size(); at += kBlock) {
    const std::string piece = text.substr(at, kBlock);
    std::string block(static_cast<size_t>(LZ4_compressBound(static_cast<int>(piece.size()))) + 4, '\0');
    const int size = LZ4_compress_default(piece.data(), block.data() + 4, static_cast<int>(piece.size()),
                                          static_cast<int>(block.size() - 4));
    put_number(block, 0, static_cast<uint32_t>(size));
    packed += block.substr(0, static_cast<size_t>(size) + 4);
  }
  packed.resize(packed.size() + 4);
  put_number(packed, packed.size() - 4, static_cast<uint32_t>(text.size()));
  return packed;
}

std::string bzimage(const std::string& payload) {
  std::string image(512 * 3, '\0');
  image[0x1f1] = 1;
  image.replace(0x202, 4, "HdrS");
  put_number(image, 0x248, 512);  // behind the two sectors of set-up code
  put_number(image, 0x24c, static_cast<uint32_t>(payload.size()));
  return image + payload + "what follows";
}

}  // namespace

TEST_CASE("loadable_kernel: what is packed in a bzImage, by any of the formats, unpacked once") {
  const test::TempFolder folder;
  const std::string kernel = elf();
  for (const auto& pack : std::initializer_list<std::function<std::string(const std::string&)>>{gzip, xz, zstd, lz4}) {
    const std::string path = folder.path() + "/vmlinuz";
    REQUIRE(write_whole_file(path, bzimage(pack(kernel))));
    const auto unpacked = loadable_kernel(path, folder.path() + "/kernels");
    REQUIRE(unpacked);
    CHECK(read_file(*unpacked, size_t{1} << 30).value() == kernel);
    const auto before = std::filesystem::last_write_time(*unpacked);
    CHECK(loadable_kernel(path, folder.path() + "/kernels").value() == *unpacked);
    CHECK(std::filesystem::last_write_time(*unpacked) == before);
  }
  int kept = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() + "/kernels"))
    kept += entry.is_symlink() ? 0 : 1;
  CHECK(kept == 4);
}

TEST_CASE("loadable_kernel: an ELF file is taken as it is") {
  const test::TempFolder folder;
  REQUIRE(write_whole_file(folder.path() + "/vmlinux", elf().substr(0, 100)));
  CHECK(loadable_kernel(folder.path() + "/vmlinux", folder.path() + "/kernels").value() == folder.path() + "/vmlinux");
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() + "/kernels")) CHECK(entry.is_symlink());
  // Another file in its place is looked at anew.
  REQUIRE(write_whole_file(folder.path() + "/vmlinux", "no kernel"));
  CHECK_FALSE(loadable_kernel(folder.path() + "/vmlinux", folder.path() + "/kernels"));
}

TEST_CASE("loadable_kernel: what cannot be unpacked is named, and leaves nothing") {
  const test::TempFolder folder;
  const std::string path = folder.path() + "/vmlinuz";
  const auto error = [&](const std::string& image) {
    REQUIRE(write_whole_file(path, image));
    const auto kernel = loadable_kernel(path, folder.path() + "/kernels");
    REQUIRE_FALSE(kernel);
    CHECK_FALSE(std::filesystem::exists(folder.path() + "/kernels"));
    return kernel.error().message;
  };
  const std::string named = "kernel '" + path + "'";
  CHECK(error("hello") == named + ": neither an ELF file nor a bzImage");
  CHECK(error(bzimage("LZO!....")) == "unpack " + named + ": packed neither by gzip, xz, zstd nor LZ4");
  CHECK(error(bzimage(gzip("no kernel"))) == named + ": what is packed in it is no ELF file");
  for (const auto& pack : std::initializer_list<std::function<std::string(const std::string&)>>{gzip, xz, zstd, lz4}) {
    const std::string packed = pack(elf());
    CHECK(error(bzimage(packed.substr(0, packed.size() / 2))).starts_with("unpack " + named + ": "));
  }
  std::string image = bzimage(gzip(elf()));
  put_number(image, 0x24c, 1U << 30U);
  CHECK(error(image) == named + ": a bzImage without its kernel");
}

TEST_CASE("lacking_options: a kernel without a way to its devices is told of") {
  CHECK(lacking_options("").empty());
  const std::string most = "\nCONFIG_VIRTIO_NET=m\nCONFIG_VIRTIO_BLK=y\nCONFIG_ACPI=y\n";
  CHECK(lacking_options(most + "CONFIG_VIRTIO_MMIO=m\n").empty());
  CHECK(lacking_options(most + "CONFIG_VIRTIO_PCI=y\n").empty());
  CHECK(lacking_options(most + "# CONFIG_VIRTIO_PCI is not set\n") ==
        std::vector<std::string>{"CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI"});
}

TEST_CASE("loadable_kernel: the configuration that is in a kernel, or beside it, is read") {
  const test::TempFolder folder;
  const std::string lacking = "\nCONFIG_ACPI=y\nCONFIG_VIRTIO_MMIO=y\nCONFIG_VIRTIO_NET=y\n";
  REQUIRE(write_whole_file(folder.path() + "/vmlinux", elf().substr(0, 100) + "IKCFG_ST" + gzip(lacking) + "IKCFG_ED"));
  const auto inside = loadable_kernel(folder.path() + "/vmlinux", folder.path());
  REQUIRE_FALSE(inside);
  CHECK(inside.error().message ==
        "kernel '" + folder.path() + "/vmlinux' was built without CONFIG_VIRTIO_BLK: it would not find its devices");
  REQUIRE(write_whole_file(folder.path() + "/vmlinuz-6.1", bzimage(gzip(elf()))));
  REQUIRE(write_whole_file(folder.path() + "/config-6.1", lacking));
  CHECK_FALSE(loadable_kernel(folder.path() + "/vmlinuz-6.1", folder.path()));
}

}  // namespace slicer::runner
