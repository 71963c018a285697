#include "runner/groups/quantity.h"

#include <charconv>
#include <string_view>

namespace slicer::runner {

Result<uint64_t> parse_bits(const std::string& text) {
  constexpr std::string_view kUnits = "KMG";
  constexpr uint64_t kStep = 1000;
  uint64_t number = 0;
  const char* end = text.data() + text.size();
  const auto [rest, failure] = std::from_chars(text.data(), end, number);
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  const size_t power = unit.size() == 1 ? kUnits.find(unit[0]) : std::string_view::npos;
  if (failure == std::errc::invalid_argument || (!unit.empty() && power == std::string_view::npos))
    return fail(Kind::kInvalidConfig, "\"" + text + "\" is no number of bits",
                "write a whole number, with K, M or G behind it if need be, as \"100M\"");
  uint64_t factor = 1;
  for (size_t i = 0; !unit.empty() && i <= power; ++i) factor *= kStep;
  uint64_t result = 0;
  if (failure != std::errc{} || __builtin_mul_overflow(number, factor, &result))
    return fail(Kind::kInvalidConfig, "\"" + text + "\" is too large");
  return result;
}

}  // namespace slicer::runner
