#include "lib/netfilter/backend.h"

#include <fmt/format.h>

#include "lib/netfilter/iptables.h"
#include "lib/netfilter/nftables.h"

namespace slicer::netfilter {

Result<std::unique_ptr<Backend>> make_backend(std::string_view name) { return make_backend_for("backend", name); }

Result<std::unique_ptr<Backend>> make_backend_for(std::string_view key, std::string_view name) {
  if (name.empty() || name == "auto" || name == "nftables") return make_nftables_backend();
  if (name == "iptables") return make_iptables_backend();
  return fail(Kind::kInvalidConfig,
              fmt::format("\"{}\": \"{}\" is none of \"auto\", \"nftables\", \"iptables\"", key, name),
              "leave the key out to have the right one chosen");
}

}  // namespace slicer::netfilter
