#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>

#include "runner/commands/table.h"
#include "runner/commands/vm.h"
#include "runner/supervisor/signals.h"
#include "runner/view/vm_view.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run list                                  the VMs of this host\n"
    "  slicer-run list --watch                          the same again every 2 seconds, until ctrl-c\n"
    "  slicer-run list --json | jq -r '.[] | select(.state == \"dead\") | .name'\n"
    "\n"
    "CPU is the time that the hypervisor took of a processor since its start, in percent (200%: two processors,\n"
    "always busy); with --watch, since the last look. MEM is what the hypervisor has in memory now.";

struct Options {
  bool json = false;
  bool watch = false;
  double interval = 2;
};

using Row = std::vector<std::string>;
constexpr size_t kStateColumn = 2;

std::string or_dash(std::string text) { return text.empty() ? "-" : std::move(text); }

Row row_of(const VmView& view) {
  const VmRecord& record = view.record;
  const bool runs = view.hypervisor.has_value();
  return {record.name,
          or_dash(record.group),
          std::string(view.state) + (record.link_gone ? ", no link" : ""),
          or_dash(fmt::format("{}", fmt::join(all_addresses(record), ","))),
          or_dash(record.mac),
          record.network,
          fmt::format("{}/{}", record.hypervisor_name, record.accelerator),
          runs ? duration_text(static_cast<int64_t>(view.hypervisor->age.count())) : "-",
          view.cpu_percent ? fmt::format("{:.0f}%", *view.cpu_percent) : "-",
          runs ? memory_text(view.hypervisor->rss_bytes) : "-"};
}

// A column for those who have leases; behind the addresses.
void add_leases(const std::vector<VmView>& views, std::vector<Row>& rows) {
  constexpr ptrdiff_t kColumn = 4;
  if (std::ranges::none_of(views, [](const VmView& view) { return view.record.lease.has_value(); })) return;
  rows[0].insert(rows[0].begin() + kColumn, "LEASE");
  for (size_t i = 0; i < views.size(); ++i)
    rows[i + 1].insert(rows[i + 1].begin() + kColumn, lease_text(views[i].record));
}

std::string table_of(const std::vector<VmView>& views, bool colours) {
  std::vector<Row> rows = {
      {"NAME", "GROUP", "STATE", "ADDRESS", "MAC", "NETWORK", "HYPERVISOR", "UPTIME", "CPU", "MEM"}};
  for (const VmView& view : views) rows.push_back(row_of(view));
  add_leases(views, rows);
  if (!colours) return table_text(rows);
  return table_text(rows, [](size_t row, size_t column, const std::string& text) {
    if (row == 0) return Colour::kBold;
    return column == kStateColumn ? colour_of_state(text) : Colour::kNone;
  });
}

// --watch: a line each, so that a reader knows where one look ends.
std::string json_of(const std::vector<VmView>& views, int indent) {
  cni::Json list = cni::Json::array();
  for (const VmView& view : views) list.push_back(vm_json(view));
  return list.dump(indent, ' ', false, cni::Json::error_handler_t::replace) + "\n";
}

// In place: the cursor goes home, and what is left of the last look is erased line by line, so that nothing flickers.
std::string frame_of(const std::string& text) {
  std::string frame = "\033[H";
  for (const char c : text) frame += c == '\n' ? std::string("\033[K\n") : std::string(1, c);
  return frame + "\033[J";
}

Result<int> watch(const Context& context, const Options& options) {
  const Signals signals = TRY(Signals::block());
  const bool terminal = isatty(STDOUT_FILENO) == 1;
  const bool colours = stdout_has_colours();
  CpuMeter meter;
  if (terminal && !options.json) TRY(print("\033[2J"));
  for (bool first = true;; first = false) {
    std::vector<VmView> views = TRY(look_at_vms(context));
    meter.measure(views);
    if (options.json)
      TRY(print(json_of(views, -1)));
    else if (terminal)
      TRY(print(frame_of(table_of(views, colours))));
    else
      TRY(print((first ? "" : "\n") + table_of(views, false)));
    pollfd waiting{.fd = signals.fd(), .events = POLLIN, .revents = 0};
    if (poll(&waiting, 1, static_cast<int>(options.interval * 1000)) != 0) return kExitOk;
  }
}

Result<int> run(const Context& context, const Options& options) {
  if (options.watch) return watch(context, options);
  const std::vector<VmView> views = TRY(look_at_vms(context));
  TRY(print(options.json ? json_of(views, 2) : table_of(views, stdout_has_colours())));
  return kExitOk;
}

}  // namespace

void register_list(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("list", "Show the VMs");
  command.add_flag("--json", options->json, "As a JSON array; with --watch one array a line");
  command.add_flag("--watch", options->watch, "Again and again, until ctrl-c");
  command.add_option("--interval", options->interval, "Seconds between two looks of --watch")
      ->check(CLI::Range(0.1, 86400.0))
      ->capture_default_str();
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
