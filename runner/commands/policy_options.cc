#include "runner/commands/policy_options.h"

#include <CLI/App.hpp>

#include "lib/netfilter/policy.h"

namespace slicer::runner {
namespace {

// The word that stands for a list without entries: an empty argument gets lost in scripts.
constexpr const char* kNone = "none";

Result<cni::Json> entries(const std::vector<std::string>& list, const char* option) {
  cni::Json json = cni::Json::array();
  for (const std::string& entry : list) {
    if (entry.empty() || entry == kNone) {
      if (list.size() == 1) return json;
      return fail(Kind::kInvalidConfig, std::string(option) + ": 'none' beside other entries",
                  "give either none or entries");
    }
    (void)TRY(netfilter::parse_policy_entry(entry).context(option));
    json.push_back(entry);
  }
  return json;
}

}  // namespace

void add_policy_options(CLI::App& command, PolicyOptions& options) {
  const std::string forms =
      ": CIDR, address or a-b, each also with :port; in place of the network's list ('none': empty)";
  command.add_option("--drop", options.drop, "What this VM may not reach" + forms)
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--allow", options.allow, "What this VM may reach" + forms)
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--default", options.fallback, "What becomes of destinations on neither list")
      ->check(CLI::IsMember({"drop", "allow"}));
}

Result<cni::Json> policy_capability(const PolicyOptions& options) {
  cni::Json policy = cni::Json::object();
  if (!options.drop.empty()) policy["drop"] = TRY(entries(options.drop, "--drop"));
  if (!options.allow.empty()) policy["allow"] = TRY(entries(options.allow, "--allow"));
  if (!options.fallback.empty()) policy["default"] = options.fallback;
  cni::Json capabilities = cni::Json::object();
  if (!policy.empty()) capabilities["policy"] = std::move(policy);
  return capabilities;
}

}  // namespace slicer::runner
