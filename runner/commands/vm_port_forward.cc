#include <fmt/format.h>

#include <CLI/App.hpp>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/vm.h"
#include "runner/forward/guest_way.h"
#include "runner/forward/relay.h"
#include "runner/groups/group_vms.h"
#include "runner/print.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/signals.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  std::vector<std::string> forwards = {};
};

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run vm port-forward demo-1 2222:22              then: ssh -p 2222 root@127.0.0.1\n"
    "  slicer-run vm port-forward demo-1 2222:127.0.0.1:22    the same\n"
    "  slicer-run vm port-forward demo-1 0.0.0.0:8080:80 2222:22\n"
    "ctrl-c ends it, and so does the end of the VM.";

Result<VmRecord> load_running(const Context& context, const std::string& name) {
  VmRecord record = TRY(load_record(context, name));
  if (record.phase != Phase::kRunning || !is_alive(record))
    return fail(Kind::kUnavailable, "forward ports of VM '" + name + "': it does not run", "slicer-run list");
  return record;
}

Result<int> run(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  std::vector<ForwardSpec> specs;
  for (const std::string& text : options.forwards) specs.push_back(TRY(parse_forward(text)));
  TRY(check_root());
  const VmRecord record = TRY(load_running(context, options.name));
  const UniqueFd supervisor = open_process(record.supervisor);
  (void)TRY(find_way(record));
  // Its address may become another one, so each connection looks.
  Relay relay([&](uint16_t port) -> Result<Dialled> {
    const VmRecord now = TRY(load_running(context, options.name));
    return begin_connection(TRY(find_way(now)), port);
  });
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  for (const ForwardSpec& spec : specs) {
    const uint16_t port = TRY(relay.listen(spec));
    TRY(print(
        fmt::format("{} leads to port {} of {}\n", endpoint_text(spec.listen, port), spec.guest_port, record.name)));
  }
  relay.run({signals.fd(), supervisor.get()});
  if (signals.take() == 0) log_line("'" + record.name + "' has ended");
  return kExitOk;
}

}  // namespace

void register_vm_port_forward(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("port-forward", "Make TCP ports of a VM's guest reachable on this machine");
  command.add_option("NAME", options->name, "The VM")->required();
  command
      .add_option("FORWARD", options->forwards,
                  "[ADDRESS:]PORT:GUESTPORT; ADDRESS: this machine's, 127.0.0.1; PORT 0: a free one")
      ->required();
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
