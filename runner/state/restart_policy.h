#pragma once
// What becomes of a VM that ends without being asked to.

#include <array>
#include <string_view>

namespace slicer::runner {

enum class RestartPolicy {
  kNo,
  kOnFailure,  ///< when its hypervisor or its supervisor failed, not when the guest switched itself off
  kAlways,
};

/// The words of the YAML, in the order of the enumerators.
inline constexpr std::array<std::string_view, 3> kRestartWords = {"no", "on-failure", "always"};

/// An unknown word is kNo.
constexpr RestartPolicy restart_policy(std::string_view word) {
  for (size_t i = 0; i < kRestartWords.size(); ++i)
    if (kRestartWords[i] == word) return static_cast<RestartPolicy>(i);
  return RestartPolicy::kNo;
}
constexpr std::string_view restart_word(RestartPolicy policy) { return kRestartWords[static_cast<size_t>(policy)]; }

}  // namespace slicer::runner
