#include "runner/completion/completion.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "runner/commands/help.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  . <(slicer-run completion bash)                          in this bash\n"
    "  slicer-run completion zsh > ~/.zfunc/_slicer-run         for zsh, with ~/.zfunc in $fpath\n"
    "  slicer-run completion fish > ~/.config/fish/completions/slicer-run.fish\n"
    "\n"
    "An installation has them in place already.";

}  // namespace

void register_completion(CLI::App& app, Context& context) {
  const auto shell = std::make_shared<std::string>();
  CLI::App& command = *app.add_subcommand("completion", "Print the completion script of a shell");
  command.add_option("SHELL", *shell, "The shell")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.footer(kExamples);
  command.callback([&context, shell] {
    context.action = [shell]() -> Result<int> {
      TRY(print(completion_script(*shell)));
      return kExitOk;
    };
  });
}

}  // namespace slicer::runner
