#include <CLI/App.hpp>
#include <memory>

#include "runner/commands/vm.h"
#include "runner/forward/guest_dial.h"
#include "runner/ssh/copy.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner {
namespace {

struct Options {
  std::string source = {};
  std::string target = {};
  SshWish ssh = {.wait_s = 60};
};

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run vm cp app.conf demo-1:/etc/          a file into a folder of the guest\n"
    "  slicer-run vm cp ./site demo-1:/www             a folder, as /www or into it\n"
    "  slicer-run vm cp demo-1:/var/log ./logs         out of the guest\n"
    "  slicer-run vm cp demo-1:/etc/. ./etc-of-demo    a folder's content\n"
    "Permissions and times are kept. A relative path in the guest begins in the user's home.";

Result<int> run(const Context& context, const Options& options) {
  const CopyEnd from = parse_copy_end(options.source);
  const CopyEnd to = parse_copy_end(options.target);
  if (from.vm.empty() == to.vm.empty())
    return fail(Kind::kInvalidConfig,
                "copy '" + options.source + "' to '" + options.target + "': one of them is in a VM, and only one",
                "write NAME:PATH for the one in the VM, ./a:b for a file of this machine with ':' in its name");
  CopyWish wish;
  wish.vm = from.vm.empty() ? to.vm : from.vm;
  wish.source = from.path;
  wish.target = to.path;
  wish.ssh = options.ssh;
  TRY(check_vm_name(wish.vm));
  TRY(check_root());
  (void)TRY(load_running(context, wish.vm, "copy to or from"));
  TRY(from.vm.empty() ? copy_in(context, wish) : copy_out(context, wish));
  return kExitOk;
}

}  // namespace

void register_vm_cp(CLI::App& vm, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *vm.add_subcommand("cp", "Copy files and folders into a VM's guest, or out of it");
  command.add_option("SOURCE", options->source, "A path, or NAME:PATH in the VM NAME")->required();
  command.add_option("TARGET", options->target, "The same")->required();
  command.add_option("--user,-u", options->ssh.user, "The guest's user")->capture_default_str();
  command.add_option("--wait", options->ssh.wait_s, "Seconds to wait for a guest that does not answer yet")
      ->capture_default_str();
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
