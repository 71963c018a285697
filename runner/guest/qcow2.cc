#include "runner/guest/qcow2.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace slicer::runner {
namespace {

constexpr uint32_t kMagic = 0x514649fb;  // "QFI\xfb"
constexpr uint32_t kVersion = 3;
constexpr uint32_t kClusterBits = 16;
constexpr uint64_t kCluster = uint64_t{1} << kClusterBits;
constexpr uint64_t kPerL1Entry = kCluster * (kCluster / 8);  // bytes of the disk behind one entry: 512 MiB
constexpr uint32_t kRefcountOrder = 4;                       // 16 bits each
constexpr uint32_t kHeaderLength = 104;
constexpr uint32_t kBaseFormatExtension = 0xe2792aca;
constexpr size_t kMaxBase = 1023;

// Offsets in the header.
constexpr size_t kSizeAt = 24;
constexpr size_t kL1SizeAt = 36;

// What is where, in clusters: the header; the refcount table; its one block; the L1 table.
constexpr uint64_t kRefcountTable = 1;
constexpr uint64_t kRefcountBlock = 2;
constexpr uint64_t kL1Table = 3;

/// Big-endian numbers behind one another.
class Bytes {
 public:
  void add(uint64_t value, size_t width) {
    for (size_t i = width; i-- > 0;) text_ += static_cast<char>((value >> (8 * i)) & 0xff);
  }
  void add(const std::string& text) { text_ += text; }
  void pad() { text_.resize((text_.size() + 7) / 8 * 8, '\0'); }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_ = {};
};

uint64_t number_at(std::string_view text, size_t at, size_t width) {
  uint64_t value = 0;
  for (const char c : text.substr(at, width)) value = value << 8 | static_cast<unsigned char>(c);
  return value;
}

uint64_t l1_entries(uint64_t bytes) { return (bytes + kPerL1Entry - 1) / kPerL1Entry; }
uint64_t l1_clusters(uint64_t entries) { return (entries * 8 + kCluster - 1) / kCluster; }

std::string header(const Qcow2Spec& spec) {
  Bytes extensions;
  if (!spec.base.empty()) {
    extensions.add(kBaseFormatExtension, 4);
    extensions.add(spec.base_format.size(), 4);
    extensions.add(spec.base_format);
    extensions.pad();
  }
  extensions.add(0, 8);  // the end of the extensions
  Bytes bytes;
  bytes.add(kMagic, 4);
  bytes.add(kVersion, 4);
  bytes.add(spec.base.empty() ? 0 : kHeaderLength + extensions.text().size(), 8);
  bytes.add(spec.base.size(), 4);
  bytes.add(kClusterBits, 4);
  bytes.add(spec.bytes, 8);
  bytes.add(0, 4);  // not encrypted
  bytes.add(l1_entries(spec.bytes), 4);
  bytes.add(kL1Table * kCluster, 8);
  bytes.add(kRefcountTable * kCluster, 8);
  bytes.add(1, 4);                              // clusters of the refcount table
  bytes.add(0, 4);                              // snapshots
  bytes.add(0, 8);                              // and where they are
  for (int i = 0; i < 3; ++i) bytes.add(0, 8);  // incompatible, compatible and autoclear features
  bytes.add(kRefcountOrder, 4);
  bytes.add(kHeaderLength, 4);
  bytes.add(extensions.text());
  bytes.add(spec.base);
  return bytes.text();
}

Result<void> put(int file, const std::string& text, uint64_t offset) {
  const ssize_t count = pwrite(file, text.data(), text.size(), static_cast<off_t>(offset));
  if (count == static_cast<ssize_t>(text.size())) return {};
  return fail_errno(count < 0 ? errno : ENOSPC, "write");
}

Result<std::string> get_header(int file) {
  std::string text(kHeaderLength, '\0');
  const ssize_t count = pread(file, text.data(), text.size(), 0);
  if (count < 0) return fail_errno(errno, "read");
  if (static_cast<size_t>(count) < text.size() || number_at(text, 0, 4) != kMagic)
    return fail(Kind::kDecode, "not a qcow2 image", "a disk whose name ends in .qcow2 must be one");
  return text;
}

}  // namespace

Result<void> write_qcow2(int file, const Qcow2Spec& spec) {
  if (spec.base.size() > kMaxBase)
    return fail(Kind::kInvalidConfig, "the path of '" + spec.base + "' is too long", "1023 bytes are what qcow2 holds");
  const uint64_t clusters = kL1Table + l1_clusters(l1_entries(spec.bytes));
  if (ftruncate(file, static_cast<off_t>(clusters * kCluster)) != 0) return fail_errno(errno, "write");
  Bytes table;
  table.add(kRefcountBlock * kCluster, 8);
  Bytes block;
  for (uint64_t i = 0; i < clusters; ++i) block.add(1, 2);
  TRY(put(file, header(spec), 0));
  TRY(put(file, table.text(), kRefcountTable * kCluster));
  return put(file, block.text(), kRefcountBlock * kCluster);
}

Result<uint64_t> qcow2_size(int file) { return number_at(TRY(get_header(file)), kSizeAt, 8); }

// Size and number of L1 entries lie in the file's first sector, which one write changes; the entries behind the old
// end, in clusters that hold nothing but the table, are zero.
Result<bool> grow_qcow2(int file, uint64_t bytes) {
  const std::string text = TRY(get_header(file));
  const uint64_t entries = number_at(text, kL1SizeAt, 4);
  const bool ours = number_at(text, 20, 4) == kClusterBits && number_at(text, 60, 4) == 0;
  if (!ours || l1_clusters(l1_entries(bytes)) > l1_clusters(entries)) return false;
  Bytes changed;
  changed.add(bytes, 8);
  changed.add(0, 4);
  changed.add(std::max(entries, l1_entries(bytes)), 4);
  TRY(put(file, changed.text(), kSizeAt));
  return true;
}

}  // namespace slicer::runner
