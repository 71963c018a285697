#include "runner/commands/doctor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/cni/json.h"
#include "runner/doctor/checks.h"
#include "runner/print.h"

namespace slicer::runner {
namespace {

using cni::Json;
using doctor::Finding;
using doctor::Findings;
using doctor::Level;

Findings examine(const Settings& settings) {
  Findings findings;
  if (geteuid() != 0) {
    // Most of what follows would fail for that alone, and send its reader the wrong way.
    findings.fail("root", "only root can examine a host", "run as root: sudo slicer-run doctor");
    return findings;
  }
  doctor::check_kernel(findings);
  doctor::check_host(settings, findings);
  const std::vector<doctor::CheckedNetwork> networks = doctor::check_networks(settings, findings);
  doctor::check_forwarding(networks, findings);
  doctor::check_firewalls(networks, findings);
  doctor::check_lan_ports(networks, findings);
  doctor::check_shared_bridges(findings);
  doctor::check_isolation(networks, findings);
  doctor::check_network_rules(settings, findings);
  doctor::check_link_managers(settings, networks, findings);
  doctor::check_pools(settings, networks, findings);
  doctor::check_stores(networks, findings);
  doctor::check_leftovers(settings, findings);
  return findings;
}

std::string findings_text(const Findings& findings) {
  std::string text;
  for (const Finding& finding : findings.all()) {
    text += fmt::format("{:<6}{:<17}{}\n", level_name(finding.level), finding.check, finding.what);
    if (!finding.remedy.empty()) text += fmt::format("{:<23}do: {}\n", "", finding.remedy);
  }
  return text + fmt::format("{} ok, {} to see to, {} failed\n", findings.count(Level::kOk),
                            findings.count(Level::kWarn), findings.count(Level::kFail));
}

Json findings_json(const Findings& findings) {
  Json json = Json::array();
  for (const Finding& finding : findings.all()) {
    json.push_back({{"level", level_name(finding.level)}, {"check", finding.check}, {"what", finding.what}});
    if (!finding.remedy.empty()) json.back()["remedy"] = finding.remedy;
  }
  return json;
}

}  // namespace

void register_doctor(CLI::App& app, Context& context) {
  CLI::App& command = *app.add_subcommand("doctor", "Examine this host and say what to do");
  const auto json = std::make_shared<bool>(false);
  command.add_flag("--json", *json, "Print JSON");
  command.callback([&context, json] {
    context.action = [&context, json]() -> Result<int> {
      const Findings findings = examine(context);
      TRY(print(*json ? cni::dump_json(findings_json(findings)) + "\n" : findings_text(findings)));
      return findings.count(Level::kFail) == 0 ? kExitOk : kExitFailed;
    };
  });
}

}  // namespace slicer::runner
