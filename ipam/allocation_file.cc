#include "ipam/allocation_file.h"

#include <algorithm>
#include <array>

namespace slicer::ipam {
namespace {

constexpr std::string_view kLineBreak = "\r\n";  // host-local: backend/disk/backend.go, LineBreak

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

}  // namespace

Holder Holder::of(std::string_view container_id, std::string_view ifname) {
  return {std::string(trim(container_id)) + std::string(kLineBreak) + std::string(ifname)};
}

std::optional<std::string> Holder::container_id() const {
  const size_t end = text.find(kLineBreak);
  if (end == std::string::npos) return std::nullopt;
  return text.substr(0, end);
}

std::optional<std::string> Holder::ifname() const {
  const size_t end = text.find(kLineBreak);
  if (end == std::string::npos) return std::nullopt;
  return text.substr(end + kLineBreak.size());
}

std::optional<Holder> parse_allocation(std::string_view content) {
  if (content.size() > kMaxAllocationFile) return std::nullopt;
  const std::string_view text = trim(content);
  if (text.empty()) return std::nullopt;
  const size_t end = text.find(kLineBreak);
  const auto is_line = [](std::string_view line) { return !line.empty() && std::ranges::none_of(line, is_control); };
  if (end == std::string_view::npos) return is_line(text) ? std::optional(Holder{std::string(text)}) : std::nullopt;
  if (!is_line(text.substr(0, end)) || !is_line(text.substr(end + kLineBreak.size()))) return std::nullopt;
  return Holder{std::string(text)};
}

std::string BootRecord::text() const {
  return container_id + "\n" + ifname + "\n" + network + "\n" + boot_id + "\nend\n";
}

std::optional<BootRecord> parse_boot_record(std::string_view content) {
  std::array<std::string_view, 5> lines;
  for (std::string_view& line : lines) {
    const size_t end = content.find('\n');
    if (end == 0 || end == std::string_view::npos) return std::nullopt;
    line = content.substr(0, end);
    if (std::ranges::any_of(line, is_control)) return std::nullopt;
    content.remove_prefix(end + 1);
  }
  if (lines[4] != "end" || !content.empty()) return std::nullopt;
  return BootRecord{.container_id = std::string(lines[0]),
                    .ifname = std::string(lines[1]),
                    .network = std::string(lines[2]),
                    .boot_id = std::string(lines[3])};
}

}  // namespace slicer::ipam
