#include <CLI/App.hpp>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "lib/base/whole_file.h"
#include "runner/commands/view.h"
#include "runner/map/host_map.h"
#include "runner/supervisor/system_user.h"
#include "runner/view/colour.h"

namespace slicer::runner {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  slicer-run map                 a tree\n"
    "  slicer-run map hosts.svg       the same as a picture, for a browser or a document";

// As the C library would choose it: the first of these that is set.
bool terminal_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* const value = std::getenv(name);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != std::string_view::npos || locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

struct Options {
  std::string file = {};
  bool json = false;
};

Result<int> run(const Context& context, const Options& options) {
  const std::string& file = options.file;
  TRY(check_root());  // namespaces are entered
  const HostMap map = TRY(draw_map(context));
  if (options.json) {
    TRY(print(map_json(map).dump(2, ' ', false, cni::Json::error_handler_t::replace) + "\n"));
    return kExitOk;
  }
  if (file.empty()) {
    TRY(print(map_tree(map, {.utf8 = terminal_is_utf8(), .colours = stdout_has_colours()})));
    return kExitOk;
  }
  if (!file.ends_with(".svg"))
    return fail(Kind::kInvalidConfig, "write '" + file + "': a picture is SVG", "give it a name that ends in .svg");
  TRY(write_whole_file(file, map_svg(map), {.mode = 0644}));
  return kExitOk;
}

}  // namespace

void register_map(CLI::App& app, Context& context) {
  const auto options = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand("map", "Show the host's VM networks as a tree or a picture");
  CLI::Option& file = *command.add_option("FILE.svg", options->file, "Write a picture to this file instead");
  command.add_flag("--json", options->json, "As JSON")->excludes(&file);
  command.footer(kExamples);
  command.callback([&context, options] { context.action = [&context, options] { return run(context, *options); }; });
}

}  // namespace slicer::runner
