#include "lib/netfilter/backend.h"

#include <fmt/format.h>

#include "lib/netfilter/choice.h"

namespace slicer::netfilter {

Result<std::unique_ptr<Backend>> make_backend(std::string_view name) { return make_backend_for("backend", name); }

Result<BackendName> parse_backend_name(std::string_view key, std::string_view name) {
  if (name.empty() || name == "auto") return BackendName::kAuto;
  if (name == "nftables") return BackendName::kNftables;
  if (name == "iptables") return BackendName::kIptables;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"{}\": \"{}\" is none of \"auto\", \"nftables\", \"iptables\"", key, name),
              "leave the key out to have the right one chosen");
}

Result<std::unique_ptr<Backend>> make_backend_for(std::string_view key, std::string_view name) {
  return make_chosen_backend(TRY(parse_backend_name(key, name)));
}

std::string loss_text(const std::string& network) {
  return fmt::format(
      "another program took rules of ours from the packet filter: those of network '{}' are back, and "
      "`slicer-run network reload` puts back those of all networks",
      network);
}

std::unique_ptr<Backend> make_backend(BackendName name, std::optional<bool> legacy_tables) {
  return make_chosen_backend(name, legacy_tables);
}

}  // namespace slicer::netfilter
