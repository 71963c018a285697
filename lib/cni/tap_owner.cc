#include "lib/cni/tap_owner.h"

#include <fmt/core.h>

#include <charconv>

#include "lib/cni/fields.h"

namespace slicer::cni {
namespace {

// uid_t's last value means "no user" to the kernel.
constexpr int64_t kIdMax = 4294967294;

/// A uid or gid out of CNI_ARGS.
Result<std::optional<uint32_t>> id_argument(const Environment& env, const char* key) {
  const std::optional<std::string> text = env.arg(key);
  if (!text) return std::optional<uint32_t>{};
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), id);
  if (error == std::errc() && end == text->data() + text->size() && id <= kIdMax) return std::optional(id);
  return fail(Kind::kInvalidEnvironment, fmt::format("CNI_ARGS {}: '{}' is not in 0-{}", key, *text, kIdMax),
              "pass a numeric user or group id");
}

}  // namespace

Result<TapOwner> parse_tap_owner(const Json& conf, const Environment& env) {
  constexpr Bounds kIds{.low = 0, .high = kIdMax};
  TapOwner owner;
  const auto user = TRY(optional_int_field(conf, "owner", kIds));
  const auto group = TRY(optional_int_field(conf, "group", kIds));
  if (group) owner.group = static_cast<uint32_t>(*group);
  if (user)
    owner.user = static_cast<uint32_t>(*user);
  else if (group && !env.arg("TC_REDIRECT_TAP_GID"))
    owner.user.reset();
  if (const auto uid = TRY(id_argument(env, "TC_REDIRECT_TAP_UID"))) owner.user = uid;
  if (const auto gid = TRY(id_argument(env, "TC_REDIRECT_TAP_GID"))) owner.group = gid;
  return owner;
}

}  // namespace slicer::cni
