#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "lib/base/log.h"
#include "lib/cni/json.h"
#include "runner/commands/view.h"
#include "runner/networks/outside_routes.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run route                     for Linux machines; paste what it prints there, as root\n"
    "  slicer-run route --os windows        for a Windows machine\n"
    "  slicer-run route --via 192.0.2.10    when other machines reach this host by that address\n"
    "\n"
    "Better still is one such route on the LAN's router, which then serves all machines.";

struct Options {
  std::string os = "linux";
  std::vector<std::string> via = {};
  bool json = false;
};

Result<std::vector<addr::Ip>> parse_via(const std::vector<std::string>& texts) {
  std::vector<addr::Ip> addresses;
  for (const std::string& text : texts) addresses.push_back(TRY(addr::parse_ip(text).context("--via")));
  return addresses;
}

RouteSyntax syntax_of(const std::string& os) {
  if (os == "macos") return RouteSyntax::kMacos;
  return os == "windows" ? RouteSyntax::kWindows : RouteSyntax::kLinux;
}

std::string text_of(const RoutePlan& plan, RouteSyntax syntax) {
  const char* const comment = syntax == RouteSyntax::kWindows ? "REM" : "#";
  std::string text;
  for (const OutsideRoute& route : plan.routes) {
    text += fmt::format("{} network {}, bridge {}{}\n", comment, route.network, route.bridge,
                        route.bridge_is_there ? "" : " (not there yet: the first VM makes it)");
    if (route.via) text += route_command(route, syntax) + "\n";
  }
  for (const RoutelessNetwork& network : plan.routeless)
    text += fmt::format("{} network {} needs no route: {}\n", comment, network.network, network.reason);
  if (plan.routes.empty()) text += fmt::format("{} nothing to route\n", comment);
  return text;
}

cni::Json json_of(const RoutePlan& plan) {
  cni::Json list = cni::Json::array();
  for (const OutsideRoute& route : plan.routes)
    list.push_back({{"network", route.network},
                    {"bridge", route.bridge},
                    {"subnet", route.subnet.text()},
                    {"via", route.via ? cni::Json(route.via->text()) : cni::Json(nullptr)}});
  return list;
}

// What is missing is told behind what there is.
Result<void> check_via(const RoutePlan& plan) {
  for (const OutsideRoute& route : plan.routes)
    if (!route.via)
      return fail(Kind::kNotFound,
                  fmt::format("route to {}: no address of this host is known, since it has no {} default route",
                              route.subnet.text(), route.subnet.ip.is_v4() ? "IPv4" : "IPv6"),
                  "say by which address other machines reach it: --via ADDRESS");
  return {};
}

Result<int> run(const Context& context, const Options& options) {
  const RoutePlan plan = TRY(plan_routes(context, TRY(parse_via(options.via))));
  TRY(print(options.json ? json_of(plan).dump(2) + "\n" : text_of(plan, syntax_of(options.os))));
  TRY(check_via(plan));
  return kExitOk;
}

}  // namespace

void register_route(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("route", "Print the routes that other machines need to reach the VMs");
  command.add_option("--os", options->os, "Of those machines: linux, macos or windows")
      ->check(CLI::IsMember({"linux", "macos", "windows"}))
      ->capture_default_str();
  command.add_option("--via", options->via, "This host's address, as they reach it; one for each family");
  command.add_flag("--json", options->json, "As a JSON array");
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
