#include "runner/state/storage_size.h"

#include <fmt/format.h>

#include <charconv>

namespace slicer::runner {
namespace {

constexpr std::string_view kUnits = "KMGT";  // each 1024 of the one before
constexpr uint64_t kKib = 1024;
constexpr uint64_t kMin = kKib * kKib;
constexpr uint64_t kMax = uint64_t{64} << 40;

uint64_t bytes_of(size_t unit) { return uint64_t{1} << (10 * (unit + 1)); }

Error wrong(std::string_view text, const char* why) {
  return {.kind = Kind::kInvalidConfig,
          .message = fmt::format("storage '{}': {}", text, why),
          .hint = "write a whole number with K, M, G or T behind it (10G), or of GiB; 1M at least, 64T at most"};
}

}  // namespace

Result<uint64_t> parse_storage_size(std::string_view text) {
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::unexpected(wrong(text, "not a size"));
  const std::string_view unit = text.substr(static_cast<size_t>(end - text.data()));
  uint64_t factor = bytes_of(kUnits.find('G'));
  if (!unit.empty()) {
    const size_t found = kUnits.find(unit.front());
    const std::string_view rest = unit.substr(1);
    if (found == std::string_view::npos || (!rest.empty() && rest != "i" && rest != "iB"))
      return std::unexpected(wrong(text, "the unit is not known"));
    factor = bytes_of(found);
  }
  if (number > kMax / factor) return std::unexpected(wrong(text, "too large"));
  if (number * factor < kMin) return std::unexpected(wrong(text, "too small"));
  return number * factor;
}

std::string storage_size_text(uint64_t bytes) {
  for (size_t unit = kUnits.size(); unit-- > 0;)
    if (bytes % bytes_of(unit) == 0) return fmt::format("{}{}", bytes / bytes_of(unit), kUnits[unit]);
  return std::to_string(bytes);
}

}  // namespace slicer::runner
