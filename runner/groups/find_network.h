#pragma once
// A network's list as it is now, wherever it is written.

#include <string>

#include "lib/base/result.h"
#include "runner/chain/conflist.h"
#include "runner/settings.h"

namespace slicer::runner {

/// That of the folder; else the one in memory of a host group that is up, as its file says it now. Errors: as
/// chain::load_network(); kNotFound, when the group's file has it no more.
Result<chain::Conflist> find_network_now(const Settings& settings, const std::string& name);

}  // namespace slicer::runner
