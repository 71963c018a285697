#pragma once
// Completion of a command line in a shell. The shells' own scripts are thin: they ask `slicer-run __complete --
// WORDS…`, which knows the commands and flags from where they are defined, and this host's VMs, groups and networks.

#include <string>
#include <string_view>
#include <vector>

#include "runner/settings.h"

namespace CLI {
class App;
}

namespace slicer::runner {

struct Candidate {
  std::string text = {};
  std::string description = {};
  friend bool operator==(const Candidate&, const Candidate&) = default;
};

struct Completion {
  std::vector<Candidate> candidates = {};  ///< all begin with the last word
  bool files = false;                      ///< names of files fit, too
};

/// What this host has, as far as the caller may see it; an error is an empty list.
struct KnownNames {
  std::vector<std::string> vms = {};
  std::vector<std::string> groups = {};
  std::vector<std::string> networks = {};
};
KnownNames look_up_names(const Settings& settings);

/// `words`: behind the program's name, the last one is being typed (and may be empty).
Completion complete(const CLI::App& app, const KnownNames& names, const std::vector<std::string>& words);

/// For a shell's script: "TEXT<TAB>DESCRIPTION" lines, and ":files" where files fit.
std::string completion_text(const Completion& completion);

/// The script for "bash", "zsh" or "fish"; empty: no such shell.
std::string_view completion_script(std::string_view shell);

}  // namespace slicer::runner
