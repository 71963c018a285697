#include "runner/completion/completion.h"

#include <doctest/doctest.h>

#include <CLI/App.hpp>

#include "runner/commands/command_line.h"

namespace slicer::runner {
namespace {

const KnownNames kNames = {.vms = {"demo-1", "web-1"}, .groups = {"web"}, .networks = {"slicer", "lan"}};

struct Shell {
  Context context;
  CLI::App app{kProgramDescription, kProgramName};
  Shell() { register_commands(app, context); }

  Completion ask(const std::vector<std::string>& words) const { return complete(app, kNames, words); }
  std::vector<std::string> texts(const std::vector<std::string>& words) const {
    std::vector<std::string> all;
    for (const Candidate& candidate : ask(words).candidates) all.push_back(candidate.text);
    return all;
  }
};

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("completion: commands, and the commands below one") {
  const Shell shell;
  CHECK(shell.texts({"insp"}) == Texts{"inspect"});
  CHECK(shell.texts({"vm", "port"}) == Texts{"port-forward"});
  CHECK(shell.texts({"--debug", "insp"}) == Texts{"inspect"});
  CHECK(shell.texts({"--cni-path", "/x", "insp"}) == Texts{"inspect"});  // a flag's value is no command
  CHECK(shell.texts({"nothing"}).empty());
  CHECK(shell.ask({}).candidates.empty());
}

TEST_CASE("completion: flags of the command and of the program, with what they take") {
  const Shell shell;
  CHECK(shell.texts({"list", "--wa"}) == Texts{"--watch"});
  CHECK(shell.texts({"list", "--deb"}) == Texts{"--debug"});
  CHECK(shell.texts({"route", "--os", ""}) == Texts{"linux", "macos", "windows"});
  CHECK(shell.texts({"route", "--os", "w"}) == Texts{"windows"});
  CHECK(shell.texts({"new", "--net=ma"}) == Texts{"--net=macvtap"});
  CHECK(shell.texts({"new", "--net", "=", "ma"}) == Texts{"macvtap"});  // bash's way
  CHECK(shell.texts({"new", "--net", "="}) == Texts{"bridge", "isolated", "macvtap", "cni"});
  CHECK(shell.texts({"vm", "new", "--network", ""}) == Texts{"slicer", "lan"});
  CHECK(shell.ask({"vm", "new", "--kernel", ""}).files);
  CHECK(shell.texts({"vm", "new", "--vcpu", ""}).empty());
}

TEST_CASE("completion: names of VMs, groups and networks where they fit") {
  const Shell shell;
  CHECK(shell.texts({"inspect", ""}) == Texts{"demo-1", "web-1"});
  CHECK(shell.texts({"vm", "console", "w"}) == Texts{"web-1"});
  CHECK(shell.texts({"vm", "rm", "demo-1", ""}) == Texts{"demo-1", "web-1"});  // several
  CHECK(shell.texts({"inspect", "demo-1", ""}).empty());                       // one
  CHECK(shell.texts({"vm", "new", ""}) == Texts{"web"});
  CHECK(shell.texts({"network", "show", ""}) == Texts{"slicer", "lan"});
  CHECK(shell.texts({"down", ""}) == Texts{"web"});
  CHECK(shell.ask({"down", ""}).files);
  CHECK(shell.ask({"up", ""}).files);
  CHECK(shell.texts({"new", ""}).empty());
  CHECK_FALSE(shell.ask({"inspect", ""}).files);
}

TEST_CASE("completion: what a shell reads") {
  CHECK(completion_text({.candidates = {{"list", "Show the VMs"}, {"x", ""}}, .files = true}) ==
        "list\tShow the VMs\nx\t\n:files\n");
  for (const char* shell : {"bash", "zsh", "fish"}) {
    CHECK(completion_script(shell).find("__complete") != std::string_view::npos);
    CHECK(completion_script(shell).ends_with("\n"));
  }
  CHECK(completion_script("ksh").empty());
}

}  // namespace slicer::runner
