#include "runner/commands/network_check.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/error.h"
#include "lib/cni/json.h"
#include "runner/commands/table.h"
#include "runner/groups/examine.h"
#include "runner/groups/find_network.h"
#include "runner/print.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

using cni::Json;

constexpr const char* kExplanation =
    "Asks the plugins: STATUS, whether an ADD could work now, and CHECK of every VM (and of other runtimes' "
    "attachments\n"
    "in libcni's cache), with the list that it was added with and the lists of slicer-firewall as they are now. By a\n"
    "file CHECK goes by that: after its plugins were replaced. The exit code is 1 when a plugin said no.\n"
    "Examples:\n"
    "  slicer-run network check\n"
    "  slicer-run network check slicer --json\n"
    "  slicer-run network check /etc/cni/net.d/51-slicer.conflist";

const char* word_of(const Verdict& verdict) {
  switch (verdict.kind) {
    case Verdict::Kind::kGood:
      return "ok";
    case Verdict::Kind::kFailed:
      return "failed";
    case Verdict::Kind::kSkipped:
      break;
  }
  return "not asked";
}

std::string text_of(const Verdict& verdict) {
  return verdict.reason.empty() ? word_of(verdict) : fmt::format("{}: {}", word_of(verdict), verdict.reason);
}

void tell_failure(const Verdict& verdict) {
  if (verdict.kind != Verdict::Kind::kFailed) return;
  log_line(verdict.error.message);
  if (!verdict.error.hint.empty()) log_line("hint: " + verdict.error.hint);
}

Result<void> print_text(const ExaminedNetwork& examined) {
  TRY(print(
      fmt::format("network {} ({}): {}\n", examined.network.name, examined.network.file, text_of(examined.status))));
  tell_failure(examined.status);
  if (examined.attachments.empty()) return {};
  std::vector<std::vector<std::string>> rows = {{"ATTACHED", "INTERFACE", "ADDRESSES", "CHECK"}};
  for (const auto& [attachment, check] : examined.attachments)
    rows.push_back({attachment.key.container_id, attachment.key.ifname,
                    attachment.addresses.empty() ? "-" : attachment.addresses, text_of(check)});
  TRY(print(table_text(rows)));
  for (const auto& [attachment, check] : examined.attachments) tell_failure(check);
  return {};
}

Json json_of(const Verdict& verdict) {
  Json json = {{"result", word_of(verdict)}};
  if (verdict.kind == Verdict::Kind::kSkipped) json["reason"] = verdict.reason;
  if (verdict.kind != Verdict::Kind::kFailed) return json;
  json.update({{"code", cni::error_code(verdict.error)}, {"message", verdict.error.message}});
  if (!verdict.error.hint.empty()) json["hint"] = verdict.error.hint;
  return json;
}

Json json_of(const ExaminedNetwork& examined) {
  Json json = {{"name", examined.network.name},
               {"file", examined.network.file},
               {"cniVersion", examined.network.cni_version},
               {"status", json_of(examined.status)},
               {"attachments", Json::array()}};
  for (const auto& [attachment, check] : examined.attachments)
    json["attachments"].push_back({{"containerID", attachment.key.container_id},
                                   {"ifname", attachment.key.ifname},
                                   {"addresses", attachment.addresses},
                                   {"state", state_name(attachment.state)},
                                   {"check", json_of(check)}});
  return json;
}

/// What is asked about: one network, or all of the folder.
struct Asked {
  std::vector<chain::Conflist> networks = {};
  CheckBy by = CheckBy::kItsAdd;
};

Result<Asked> find_asked(const Context& context, const std::string& name) {
  Asked asked;
  if (name.empty()) {
    chain::Listing listing = TRY(chain::list_networks(context.conf_dir));
    for (const chain::Listing::Broken& broken : listing.broken) log_line(broken.error.message);
    asked.networks = std::move(listing.networks);
  } else if (name.find('/') != std::string::npos) {  // no network's name has one
    asked.networks.push_back(TRY(chain::read_conflist(name)));
    asked.by = CheckBy::kNow;
  } else {
    asked.networks.push_back(TRY(find_network_now(context, name)));
  }
  return asked;
}

Result<int> run(const Context& context, const std::string& name, bool json) {
  TRY(check_root());
  const Asked asked = TRY(find_asked(context, name));
  Json all = Json::array();
  bool good = true;
  for (const chain::Conflist& network : asked.networks) {
    const ExaminedNetwork examined = TRY(examine_network(context, network, asked.by));
    good = good && examined.good();
    if (json) {
      all.push_back(json_of(examined));
    } else {
      TRY(print_text(examined));
    }
  }
  if (json) TRY(print(cni::dump_json(all) + "\n"));
  if (asked.networks.empty() && !json) log_line("no networks in '" + context.conf_dir + "'");
  return good ? kExitOk : kExitFailed;
}

}  // namespace

void register_network_check(CLI::App& network, Context& context) {
  struct Options {
    std::string name = {};
    bool json = false;
  };
  CLI::App& command = *network.add_subcommand("check", "Ask a network's plugins whether all stands as they made it");
  const auto options = std::make_shared<Options>();
  command.add_option("NAME|FILE", options->name, "The network's name, or a conflist's path; none: all of the folder");
  command.add_flag("--json", options->json, "Print JSON");
  command.footer(kExplanation);
  command.callback([&context, options] {
    context.action = [&context, options] { return run(context, options->name, options->json); };
  });
}

}  // namespace slicer::runner
