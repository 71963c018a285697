#include "lib/cni/bandwidth.h"

#include <algorithm>
#include <array>
#include <string>

#include "lib/cni/fields.h"

namespace slicer::cni {
namespace {

constexpr std::array kKeys = {"ingressRate", "ingressBurst", "egressRate", "egressBurst"};
constexpr uint64_t kBits = 8;
constexpr int64_t kRateMax = 8'000'000'000'000'000'000;
/// Upstream's: a burst is below 4 GiB (the kernel counts it in 32 bits).
constexpr int64_t kBurstMax = int64_t{UINT32_MAX} * 8 - 1;

bool is_given(const Json& json, const char* key) {
  const Json* found = find_key(json, key);
  return found != nullptr && !found->is_null();
}

Result<RateLimit> read_limit(const Json& json, const char* rate_key, const char* burst_key) {
  const int64_t rate = TRY(int_field(json, rate_key, 0, {.low = 0, .high = kRateMax}));
  const int64_t burst = TRY(int_field(json, burst_key, 0, {.low = 0, .high = kBurstMax}));
  const auto alone = [&](const char* key, int64_t value, const char* other) {
    return fail(Kind::kInvalidConfig,
                "\"" + std::string(key) + "\": " + std::to_string(value) + " without \"" + other + "\"",
                "set both, in bits per second and in bits; or neither for no limit");
  };
  if (rate != 0 && burst == 0) return alone(rate_key, rate, burst_key);
  if (rate == 0 && burst != 0) return alone(burst_key, burst, rate_key);
  if (rate == 0) return RateLimit{};
  // Less than a byte is not nothing.
  return RateLimit{.bytes_per_second = std::max<uint64_t>(static_cast<uint64_t>(rate) / kBits, 1),
                   .burst_bytes = static_cast<uint32_t>(std::max<uint64_t>(static_cast<uint64_t>(burst) / kBits, 1))};
}

/// Newer plugins of upstream limit some of the traffic only; to limit all of it instead would be another thing.
Result<void> refuse_subnets(const Json& json) {
  for (const char* key : {"shapedSubnets", "unshapedSubnets"}) {
    if (!is_given(json, key) || json[key].empty()) continue;
    return fail(Kind::kUnsupportedField, "\"" + std::string(key) + "\": only all of a guest's traffic can be limited",
                "leave the key out");
  }
  return {};
}

Result<Bandwidth> read_bandwidth(const Json& json) {
  Bandwidth bandwidth;
  bandwidth.ingress = TRY(read_limit(json, "ingressRate", "ingressBurst"));
  bandwidth.egress = TRY(read_limit(json, "egressRate", "egressBurst"));
  return bandwidth;
}

}  // namespace

Result<Bandwidth> bandwidth_fields(const NetConf& conf) {
  TRY(refuse_subnets(conf.raw));
  if (std::ranges::any_of(kKeys, [&](const char* key) { return is_given(conf.raw, key); }))
    return read_bandwidth(conf.raw);
  const Json runtime = TRY(object_field(conf.raw, "runtimeConfig"));
  const Json asked = TRY(object_field(runtime, "bandwidth").context("\"runtimeConfig\""));
  TRY(refuse_subnets(asked).context("\"runtimeConfig\": \"bandwidth\""));
  return read_bandwidth(asked).context("\"runtimeConfig\": \"bandwidth\"");
}

}  // namespace slicer::cni
