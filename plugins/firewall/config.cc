#include "plugins/firewall/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "lib/cni/fields.h"

namespace slicer::firewall {
namespace {

using netfilter::Ingress;
using netfilter::Policy;
using netfilter::PolicyEntry;
using netfilter::PolicyVerdict;

/// `where` is what stands before the key in a message: "runtimeConfig.policy.".
Result<std::vector<PolicyEntry>> parse_list(const cni::Json& conf, const char* key, const std::string& where) {
  std::vector<PolicyEntry> entries;
  const char* form = R"(write a list: ["192.0.2.0/24", "192.0.2.7:443"])";
  auto read = cni::strings_field(conf, key).hint(form);
  const std::vector<std::string> texts = TRY(where.empty() ? std::move(read) : std::move(read).context(where + key));
  entries.reserve(texts.size());
  for (const std::string& text : texts)
    entries.push_back(TRY(netfilter::parse_policy_entry(text).context(fmt::format("\"{}{}\"", where, key))));
  return entries;
}

Result<std::optional<PolicyVerdict>> parse_default(const cni::Json& conf, const std::string& where) {
  const std::string word = TRY(cni::string_field(conf, "default"));
  if (word.empty()) return std::optional<PolicyVerdict>();
  if (word == "drop") return std::optional(PolicyVerdict::kDrop);
  if (word == "allow") return std::optional(PolicyVerdict::kAllow);
  return fail(Kind::kInvalidConfig, fmt::format("\"{}default\": \"{}\" is neither \"drop\" nor \"allow\"", where, word),
              "leave the key out to have everything else blocked when there is only an allow list, else allowed");
}

bool has(const cni::Json& conf, const char* key) {
  const auto found = conf.find(key);
  return found != conf.end() && !found->is_null();
}

Result<Policy> parse_lists(const cni::Json& conf) {
  Policy policy;
  policy.drop = TRY(parse_list(conf, "drop", ""));
  policy.allow = TRY(parse_list(conf, "allow", ""));
  policy.fallback = TRY(parse_default(conf, ""));
  return policy;
}

/// A list that is absent is the network's, an empty one clears it.
Result<std::optional<Policy>> parse_own(const cni::Json& conf, const Policy& lists) {
  const cni::Json own = TRY(cni::nested_field(conf, {"runtimeConfig", "policy"}));
  if (own.is_null()) return std::optional<Policy>();
  if (!own.is_object())
    return fail(Kind::kInvalidConfig,
                fmt::format("\"runtimeConfig.policy\": expected an object, got {}", cni::dump_json(own)),
                "write {\"drop\": […], \"allow\": […], \"default\": \"drop\" or \"allow\"}");
  const std::string where = "runtimeConfig.policy.";
  Policy policy = lists;
  if (has(own, "drop")) policy.drop = TRY(parse_list(own, "drop", where));
  if (has(own, "allow")) policy.allow = TRY(parse_list(own, "allow", where));
  if (has(own, "default")) policy.fallback = TRY(parse_default(own, where));
  return std::optional(std::move(policy));
}

Result<Ingress> parse_ingress(const cni::Json& conf) {
  const std::string word = TRY(cni::string_field(conf, "ingressPolicy"));
  if (word.empty() || word == "open") return Ingress::kOpen;
  if (word == "same-bridge") return Ingress::kSameBridge;
  if (word == "isolated") return Ingress::kIsolated;
  return fail(Kind::kInvalidConfig,
              fmt::format("\"ingressPolicy\": \"{}\" is none of \"open\", \"same-bridge\", \"isolated\"", word),
              "use \"open\" or leave the key out");
}

/// The zone is of the right type whatever the backend: conflists of upstream's plugin may have one beside any.
Result<void> parse_backend(const cni::Json& conf, Config& config) {
  const std::string backend = TRY(cni::string_field(conf, "backend").hint("use \"auto\" or leave the key out"));
  std::string zone = TRY(cni::string_field(conf, "firewalldZone"));
  if (backend == "firewalld") {
    config.zone = zone.empty() ? "trusted" : std::move(zone);
    return {};
  }
  const Result<netfilter::BackendName> name = netfilter::parse_backend_name("backend", backend);
  if (!name)
    return fail(
        name.error().kind,
        fmt::format("\"backend\": \"{}\" is none of \"auto\", \"nftables\", \"iptables\", \"firewalld\"", backend),
        name.error().hint);
  config.backend = *name;
  return {};
}

/// What iptables takes for a chain of somebody's own (iptables/xshared.c: assert_valid_chain_name()).
Result<void> parse_admin_chain(const cni::Json& conf, Config& config) {
  constexpr size_t kMaxLength = 28;
  std::string name = TRY(cni::string_field(conf, "iptablesAdminChainName"));
  if (name.empty()) return {};
  constexpr std::array kTaken{"ACCEPT", "DROP",    "RETURN",     "QUEUE",      "INPUT",
                              "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING"};
  const bool plain = std::ranges::all_of(name, [](char one) { return one > ' ' && one < 0x7f; });
  const bool taken = std::ranges::find(kTaken, std::string_view(name)) != kTaken.end() || name.starts_with("slicer-");
  if (!plain || taken || name.size() > kMaxLength || name.starts_with('-') || name.starts_with('!'))
    return fail(
        Kind::kInvalidConfig, fmt::format("\"iptablesAdminChainName\": \"{}\" cannot be a chain's name", name),
        "use at most 28 printable characters, no built-in chain or target, nothing that begins with \"slicer-\"");
  config.admin_chain = std::move(name);
  return {};
}

}  // namespace

Result<Config> parse_config(const cni::NetConf& conf) {
  Config config{.network = conf.name};
  TRY(parse_backend(conf.raw, config));
  TRY(parse_admin_chain(conf.raw, config));
  config.entries = TRY(parse_lists(conf.raw));
  config.lists = netfilter::compile_policy(config.entries);
  if (std::optional<Policy> own = TRY(parse_own(conf.raw, config.entries))) {
    config.entries = std::move(*own);
    config.own = netfilter::compile_policy(config.entries);
    if (*config.own == config.lists) config.own.reset();
  }
  config.ingress = TRY(parse_ingress(conf.raw));
  config.log = TRY(cni::bool_field(conf.raw, "log", false));
  return config;
}

}  // namespace slicer::firewall
