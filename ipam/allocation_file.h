#pragma once
// The two kinds of small files: an allocation, whose format is host-local's, and the boot record beside it, which is
// ours. Bytes in, values out; no file system. Layout: docs/ipam-store.md.

#include <optional>
#include <string>
#include <string_view>

namespace slicer::ipam {

/// What an allocation file says: who holds the address.
struct Holder {
  /// The trimmed text. "id\r\nifname", or "id" alone from a host-local of before 2018, or whatever an administrator
  /// wrote to keep an address back.
  std::string text = {};

  /// The text that (id, ifname) is written as.
  static Holder of(std::string_view container_id, std::string_view ifname);
  /// Absent unless the text has both parts.
  [[nodiscard]] std::optional<std::string> container_id() const;
  [[nodiscard]] std::optional<std::string> ifname() const;
  friend bool operator==(const Holder&, const Holder&) = default;
};

/// Reads an allocation file. Absent: empty or garbage (what a crash leaves): control characters, more than two lines,
/// or more than kMaxAllocationFile bytes.
std::optional<Holder> parse_allocation(std::string_view content);
/// Longer than any container ID: an environment variable has at most 128 KiB (Linux, MAX_ARG_STRLEN).
constexpr size_t kMaxAllocationFile = size_t{256} << 10;

/// When and for whom slicer-ipam wrote an allocation file.
struct BootRecord {
  std::string container_id = {};
  std::string ifname = {};
  std::string network = {};
  std::string boot_id = {};

  [[nodiscard]] std::string text() const;
  friend bool operator==(const BootRecord&, const BootRecord&) = default;
};

/// Reads a boot record: four non-empty lines and a fifth, "end". Absent: anything else.
std::optional<BootRecord> parse_boot_record(std::string_view content);

}  // namespace slicer::ipam
