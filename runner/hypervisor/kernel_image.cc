#include "runner/hypervisor/kernel_image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "lib/base/hash.h"
#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "runner/hypervisor/unpack.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxKernel = size_t{512} << 20;
constexpr std::string_view kElf =
    "\x7f"
    "ELF";
constexpr std::string_view kGzip = "\x1f\x8b\x08";

// Source: Linux, Documentation/arch/x86/boot.rst ("The real-mode kernel header") and arch/arm64/booting.rst.
constexpr size_t kSetupSectors = 0x1f1;
constexpr size_t kBootMagic = 0x202;
constexpr size_t kPayloadOffset = 0x248;
constexpr size_t kPayloadLength = 0x24c;
constexpr size_t kArm64Magic = 0x38;

// A kernel of some 10 MB, without a copy.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat info{};
    if (!file.valid() || fstat(file.get(), &info) != 0) return fail_errno(errno, "open kernel '" + path + "'");
    if (!S_ISREG(info.st_mode)) return fail(Kind::kInvalidConfig, "open kernel '" + path + "': not a regular file");
    const auto bytes = static_cast<size_t>(info.st_size);
    if (bytes == 0 || bytes > kMaxKernel)
      return fail(Kind::kInvalidConfig, "kernel '" + path + "' is empty or too large");
    void* data = mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (data == MAP_FAILED) return fail_errno(errno, "read kernel '" + path + "'");
    return MappedFile(static_cast<const char*>(data), bytes);
  }
  MappedFile(MappedFile&& other) noexcept : data_(other.data_), bytes_(other.bytes_) { other.data_ = nullptr; }
  MappedFile& operator=(MappedFile&&) = delete;
  ~MappedFile() {
    if (data_ != nullptr) (void)munmap(const_cast<char*>(data_), bytes_);
  }
  [[nodiscard]] std::string_view text() const { return {data_, bytes_}; }

 private:
  MappedFile(const char* data, size_t bytes) : data_(data), bytes_(bytes) {}
  const char* data_;
  size_t bytes_;
};

uint32_t little_endian(std::string_view image, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8U | static_cast<unsigned char>(image[at + i]);
  return value;
}

bool is_bzimage(std::string_view image) {
  return image.size() > kPayloadLength + 4 && image.substr(kBootMagic).starts_with("HdrS");
}

std::string name_in(const std::string& cache, std::string_view image) {
  return fmt::format("{}/{}.elf", cache, base32(hash_names({image}), 12));
}

// A kernel that was built with CONFIG_IKCONFIG has its configuration between two words, packed by gzip; a
// distribution's has it beside it in /boot. Source: Linux, kernel/configs.c.
std::string embedded_config(std::string_view kernel) {
  constexpr std::string_view kBegin = "IKCFG_ST";
  const size_t at = kernel.find(kBegin);
  if (at == std::string_view::npos || !kernel.substr(at + kBegin.size()).starts_with(kGzip)) return {};
  return unpack(kernel.substr(at + kBegin.size())).value_or("");
}

std::string config_beside(const std::string& path) {
  const size_t slash = path.rfind('/') + 1;  // npos + 1 is 0
  const std::string name = path.substr(slash);
  for (const std::string_view prefix : {"vmlinuz-", "vmlinux-"})
    if (name.starts_with(prefix))
      return read_file(path.substr(0, slash) + "config-" + name.substr(prefix.size())).value_or("");
  return {};
}

Result<void> check_options(const std::string& path, std::string_view kernel) {
  std::string config = embedded_config(kernel);
  if (config.empty()) config = config_beside(path);
  const std::vector<std::string> lacking = lacking_options(config);
  if (lacking.empty()) return {};
  return fail(
      Kind::kUnsupportedKernel,
      fmt::format("kernel '{}' was built without {}: it would not find its devices", path, fmt::join(lacking, ", ")),
      "use another kernel (--kernel FILE), or --hypervisor qemu");
}

Result<std::string> unpacked(const std::string& path, std::string_view image) {
  const std::string_view packed = TRY(packed_payload(image).context("kernel '" + path + "'"));
  std::string kernel = TRY(unpack(packed).context("unpack kernel '" + path + "'"));
  if (is_loadable(kernel)) return kernel;
  return fail(Kind::kInvalidConfig, "kernel '" + path + "': what is packed in it is no ELF file",
              "name an uncompressed kernel (vmlinux): --kernel FILE");
}

Result<std::string> keep_unpacked(const std::string& path, std::string_view image, const std::string& cache) {
  std::string kept = name_in(cache, image);
  if (access(kept.c_str(), R_OK) == 0) return kept;
  const std::string kernel = TRY(unpacked(path, image));
  TRY(check_options(path, kernel));
  TRY(ensure_directory(cache));
  TRY(write_whole_file(kept, kernel, {.mode = 0644}).context("keep the unpacked kernel '" + path + "'"));
  return kept;
}

// Reading a kernel of 40 MB takes longer than all else before a VM starts, so what came of it is noted under what
// changes when the file does: a link to what is to be loaded.
Result<std::string> name_of_note(const std::string& cache, const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) return fail_errno(errno, "open kernel '" + path + "'");
  const std::string facts =
      fmt::format("{} {} {} {}.{} {}.{}", info.st_dev, info.st_ino, info.st_size, info.st_mtim.tv_sec,
                  info.st_mtim.tv_nsec, info.st_ctim.tv_sec, info.st_ctim.tv_nsec);
  return fmt::format("{}/{}.of", cache, base32(hash_names({path, facts}), 12));
}

std::string noted_kernel(const std::string& note) {
  std::array<char, 4096> target = {};
  const ssize_t count = readlink(note.c_str(), target.data(), target.size() - 1);
  return count > 0 && access(target.data(), R_OK) == 0 ? target.data() : std::string();
}

// One that cannot be taken costs time, and nothing else.
void take_note(const std::string& note, const std::string& kernel) {
  const std::string fresh = fmt::format("{}.{}", note, getpid());
  if (symlink(kernel.c_str(), fresh.c_str()) == 0 && rename(fresh.c_str(), note.c_str()) != 0)
    (void)unlink(fresh.c_str());
}

}  // namespace

bool is_loadable(std::string_view image) {
  return image.starts_with(kElf) || (image.size() > kArm64Magic + 4 && image.substr(kArm64Magic, 4) == "ARM\x64");
}

Result<std::string_view> packed_payload(std::string_view image) {
  if (image.starts_with(kGzip)) return image;
  if (!is_bzimage(image))
    return fail(Kind::kInvalidConfig, "neither an ELF file nor a bzImage", "name a kernel: --kernel FILE");
  const size_t setup = static_cast<unsigned char>(image[kSetupSectors]);
  const size_t begin = ((setup == 0 ? 4 : setup) + 1) * 512 + little_endian(image, kPayloadOffset);
  const size_t length = little_endian(image, kPayloadLength);
  if (begin >= image.size() || length > image.size() - begin || length == 0)
    return fail(Kind::kInvalidConfig, "a bzImage without its kernel", "name another: --kernel FILE");
  return image.substr(begin, length);
}

std::vector<std::string> lacking_options(std::string_view config) {
  std::vector<std::string> lacking;
  if (config.empty()) return lacking;
  const auto has = [&](std::string_view option) {
    for (const char* value : {"=y", "=m"})
      if (config.find(fmt::format("\n{}{}", option, value)) != std::string_view::npos) return true;
    return false;
  };
  for (const char* option : {"CONFIG_VIRTIO_NET", "CONFIG_VIRTIO_BLK"})
    if (!has(option)) lacking.emplace_back(option);
  if (!has("CONFIG_VIRTIO_MMIO") && !has("CONFIG_VIRTIO_PCI"))
    lacking.emplace_back("CONFIG_VIRTIO_MMIO or CONFIG_VIRTIO_PCI");
#if defined(__x86_64__)
  // Devices are found by ACPI, or (the older way) by the kernel's command line.
  if (!has("CONFIG_ACPI") && !has("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES"))
    lacking.emplace_back("CONFIG_ACPI (or CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES)");
#endif
  return lacking;
}

Result<std::string> loadable_kernel(const std::string& path, const std::string& cache) {
  const std::string note = TRY(name_of_note(cache, path));
  if (std::string known = noted_kernel(note); !known.empty()) return known;
  const MappedFile file = TRY(MappedFile::open(path));
  std::string kernel = path;
  if (is_loadable(file.text()))
    TRY(check_options(path, file.text()));
  else
    kernel = TRY(keep_unpacked(path, file.text(), cache));
  TRY(ensure_directory(cache));
  take_note(note, kernel);
  return kernel;
}

}  // namespace slicer::runner
