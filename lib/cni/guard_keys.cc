#include "lib/cni/guard_keys.h"

#include "lib/cni/fields.h"

namespace slicer::cni {

Result<GuardKeys> parse_guard_keys(const Json& conf, bool by_default) {
  const bool mac = TRY(bool_field(conf, "macspoofchk", by_default));
  const std::optional<bool> ip = TRY(optional_bool_field(conf, "ipspoofchk"));
  if (ip.value_or(false) && !mac)
    return fail(Kind::kInvalidConfig, "\"ipspoofchk\": true needs \"macspoofchk\": true",
                "one filter checks both; set \"macspoofchk\": true or leave \"ipspoofchk\" out");
  return GuardKeys{.mac = mac, .ip = ip.value_or(mac)};
}

}  // namespace slicer::cni
