#include "runner/groups/keys.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace slicer::runner {
namespace {

constexpr std::array kFileKeys = {Key{"config"}};
constexpr std::array kConfigKeys = {Key{"host_groups"}, Key{"network_name"}};
constexpr std::array kGroupKeys = {
    Key{"name"},   Key{"count"},      Key{"network_name"}, Key{"network"},  Key{"vcpu"},        Key{"ram_gb"},
    Key{"ram_mb"}, Key{"hypervisor"}, Key{"jailer"},       Key{"image"},    Key{"dns_servers"}, Key{"restart"},
    Key{"mac"},    Key{"bandwidth"},  Key{"storage"},      Key{"ssh_keys"}, Key{"userdata"}};
constexpr std::array kNetworkKeys = {Key{"mode"},
                                     Key{"bridge", "bridge"},
                                     Key{"tap_prefix", "bridge"},
                                     Key{"gateway", "bridge, macvtap"},
                                     Key{"range"},
                                     Key{"addresses", "bridge, macvtap"},
                                     Key{"parent", "macvtap"},
                                     Key{"drop"},
                                     Key{"allow"},
                                     Key{"default"},
                                     Key{"mtu"}};
constexpr std::array kBandwidthKeys = {Key{"ingress"}, Key{"egress"}, Key{"ingress_burst"}, Key{"egress_burst"}};
constexpr std::array kImageKeys = {Key{"kernel"}, Key{"initrd"}, Key{"disk"}, Key{"cmdline"}};

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

// Levenshtein's distance, a swap of neighbours counted as one.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> table(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) table[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) table[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = lower(a[i - 1]) == lower(b[j - 1]) ? 0 : 1;
      table[i][j] = std::min({table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        table[i][j] = std::min(table[i][j], table[i - 2][j - 2] + 1);
    }
  return table[a.size()][b.size()];
}

}  // namespace

std::span<const Key> file_keys() { return kFileKeys; }
std::span<const Key> config_keys() { return kConfigKeys; }
std::span<const Key> group_keys() { return kGroupKeys; }
std::span<const Key> network_keys() { return kNetworkKeys; }
std::span<const Key> bandwidth_keys() { return kBandwidthKeys; }
std::span<const Key> image_keys() { return kImageKeys; }

const Key* find_key(std::span<const Key> keys, std::string_view name) {
  const auto found = std::ranges::find(keys, name, &Key::name);
  return found == keys.end() ? nullptr : &*found;
}

std::string suggest(std::string_view word, std::span<const std::string_view> known) {
  std::string_view best;
  size_t best_distance = std::max<size_t>(word.size() / 3, 2) + 1;  // ninja's limit is 3; short words allow less
  if (word.size() <= 3) best_distance = 2;
  for (const std::string_view candidate : known) {
    const bool begins =
        candidate.size() > 2 && word.size() > 2 && (word.starts_with(candidate) || candidate.starts_with(word));
    const size_t apart = begins ? std::min<size_t>(distance(word, candidate), 1) : distance(word, candidate);
    if (apart < best_distance) {
      best_distance = apart;
      best = candidate;
    }
  }
  if (!best.empty()) return fmt::format("did you mean \"{}\"?", best);
  return fmt::format("use one of {}", fmt::join(known, ", "));
}

std::string suggest_key(std::string_view word, std::span<const Key> keys) {
  std::vector<std::string_view> names;
  for (const Key& key : keys) names.push_back(key.name);
  return suggest(word, names);
}

}  // namespace slicer::runner
