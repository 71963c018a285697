#pragma once
// Networks that share a bridge: a packet's bridge is all that says whose it is, so the lists of all of them hold for
// every VM there (docs/slicer-firewall.md, "The rules").

#include <string>
#include <vector>

#include "lib/base/result.h"

namespace slicer::netfilter {

struct SharedBridge {
  std::string name = {};
  std::vector<std::string> networks = {};  ///< two or more, sorted; a long name is cut as in network_mark()
  /// What it means, and what to do.
  [[nodiscard]] std::string text() const;
  static const char* remedy();
};

/// Bridges of several networks whose lists are not the same (none is a list, too), in both backends. Reads all of our
/// rules: for calls that write, and for diagnosis. Errors: kSystem, kBusy; a backend that is not there has none.
Result<std::vector<SharedBridge>> find_shared_bridges();

}  // namespace slicer::netfilter
