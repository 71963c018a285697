#include <fmt/format.h>

#include <CLI/App.hpp>
#include <cerrno>
#include <csignal>
#include <memory>

#include "lib/base/log.h"
#include "runner/commands/vm.h"
#include "runner/forward/guest_dial.h"
#include "runner/forward/guest_way.h"
#include "runner/forward/relay.h"
#include "runner/forward/stdio.h"
#include "runner/groups/group_vms.h"
#include "runner/print.h"
#include "runner/process/child.h"
#include "runner/ssh/ssh_command.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/signals.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string name = {};
  std::vector<std::string> forwards = {};
  uint16_t stdio_port = 0;  ///< 0: no --stdio
  unsigned wait_s = 0;
  DialWish dial = {};
  bool json = false;
};

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run vm port-forward demo-1 2222:22              then: ssh -p 2222 root@127.0.0.1\n"
    "  slicer-run forward demo-1 2222:127.0.0.1:22            the same, in short\n"
    "  slicer-run forward demo-1 0.0.0.0:8080:80 5353:53/udp\n"
    "  slicer-run forward demo-1 /run/web.sock:127.0.0.1:80   a unix socket on this machine\n"
    "  slicer-run forward demo-1 8080:192.0.2.7:80            a host that the guest reaches, by SSH\n"
    "  slicer-run forward demo-1 --stdio 22                   on stdin and stdout, until both have ended\n"
    "For OpenSSH: -o ProxyCommand='slicer-run forward %h --stdio %p'\n"
    "ctrl-c ends it, and so does the end of the VM.";

Result<int> relay_ports(const Context& context, const Options& options, const VmRecord& record) {
  std::vector<ForwardSpec> specs;
  for (const std::string& text : options.forwards) specs.push_back(TRY(parse_forward(text)));
  const UniqueFd supervisor = open_process(record.supervisor);
  (void)TRY(find_way(record));
  GuestDialler guest(context, options.name, options.dial);
  Relay relay([&](const ForwardSpec& spec) { return guest.dial(spec); });
  (void)std::signal(SIGCHLD, SIG_IGN);  // nobody waits for an ssh that has still something to say
  raise_descriptor_limit();
  const Signals signals = TRY(Signals::block());
  cni::Json listening = cni::Json::array();
  for (const ForwardSpec& spec : specs) {
    const uint16_t port = TRY(relay.listen(spec));
    listening.push_back(forward_json(spec, port));
    if (!options.json)
      TRY(print(fmt::format("{} leads to {}\n", listen_text(spec, port), target_text(spec, record.name))));
  }
  if (options.json) TRY(print(listening.dump() + "\n"));
  TRY(relay.run({signals.fd(), supervisor.get()}));
  if (signals.take() == 0) log_line("'" + record.name + "' has ended");
  return kExitOk;
}

Result<int> by_ssh(const Context& context, const Options& options) {
  SshWish wish;
  wish.user = options.dial.user;
  wish.more = {"-W", fmt::format("127.0.0.1:{}", options.stdio_port)};
  TRY(become(TRY(ssh_argv(context, options.name, wish))));
  return kExitFailed;
}

Result<int> serve_stdio(const Context& context, const Options& options, const VmRecord& record) {
  ForwardSpec spec;
  spec.target_port = options.stdio_port;
  const UniqueFd supervisor = open_process(record.supervisor);
  GuestDialler guest(context, options.name, {.direct = true});
  Result<UniqueFd> socket = connect_in_time([&] { return guest.dial(spec); }, [&] { return is_alive(record); },
                                            std::chrono::seconds(options.wait_s));
  if (!socket && socket.error().sys_errno == ECONNREFUSED && !options.dial.direct) return by_ssh(context, options);
  if (!socket)
    return std::unexpected(std::move(socket)
                               .context(fmt::format("reach port {} of VM '{}'", spec.target_port, options.name))
                               .hint("is a server up in the guest? slicer-run vm logs " + options.name)
                               .error());
  TRY(carry_stdio(std::move(*socket), supervisor.get()));
  return kExitOk;
}

Result<int> run(const Context& context, const Options& options) {
  TRY(check_vm_name(options.name));
  for (const std::string& text : options.forwards) (void)TRY(parse_forward(text));
  TRY(check_root());
  const VmRecord record = TRY(load_running(context, options.name, "forward ports of"));
  return options.stdio_port != 0 ? serve_stdio(context, options, record) : relay_ports(context, options, record);
}

void register_as(const char* name, CLI::App& parent, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command =
      *parent.add_subcommand(name, "Make ports of a VM's guest, and of what it reaches, reachable on this machine");
  command.add_option("NAME", options->name, "The VM")->required();
  CLI::Option& forwards = *command.add_option(
      "FORWARD", options->forwards,
      "[ADDRESS:]PORT:[HOST:]PORT[/udp] or /PATH:[HOST:]PORT; ADDRESS: this machine's, 127.0.0.1; PORT "
      "0: a free one; HOST: the guest itself, or one that it reaches");
  CLI::Option& stdio =
      *command.add_option("--stdio", options->stdio_port, "One connection to this port, on stdin and stdout")
           ->check(CLI::Range(1, 65535));
  command.add_option("--wait", options->wait_s, "With --stdio: seconds to wait for a guest that does not answer yet")
      ->needs(&stdio);
  command.add_option("--user", options->dial.user, "The guest's user, where SSH is needed")->capture_default_str();
  command.add_flag("--direct", options->dial.direct, "By the guest's address alone, never by SSH");
  command.add_flag("--json", options->json, "One line when all listen: an array, with the ports that were chosen")
      ->excludes(&stdio);
  stdio.excludes(&forwards);
  command.footer(kExamples);
  command.callback([&context, options, &stdio, &forwards] {
    if (stdio.empty() && forwards.empty()) throw CLI::RequiredError("FORWARD or --stdio");
    context.action = [&context, options] { return run(context, *options); };
  });
}

}  // namespace

void register_vm_port_forward(CLI::App& vm, Context& context) { register_as("port-forward", vm, context); }

void register_forward(CLI::App& app, Context& context) { register_as("forward", app, context); }

}  // namespace slicer::runner
