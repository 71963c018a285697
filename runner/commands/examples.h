#pragma once
// Examples that --help shows below commands whose own file gives none.

namespace CLI {
class App;
}

namespace slicer::runner {

/// Fills the empty footers of all commands below `app`.
void add_examples(CLI::App& app);

}  // namespace slicer::runner
