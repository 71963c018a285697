#pragma once
// STATUS of a network, and CHECK of what is attached to it, when somebody wants to know.

#include <string>
#include <vector>

#include "runner/chain/conflist.h"
#include "runner/networks/attachments.h"
#include "runner/settings.h"

namespace slicer::runner {

/// What a verb said.
struct Verdict {
  enum class Kind { kGood, kFailed, kSkipped };
  Kind kind = Kind::kGood;
  Error error = {};         ///< kFailed
  std::string reason = {};  ///< kSkipped: why it was not called
};

struct ExaminedAttachment {
  NetworkAttachment attachment = {};
  Verdict check = {};
};
struct ExaminedNetwork {
  chain::Conflist network = {};
  Verdict status = {};
  std::vector<ExaminedAttachment> attachments = {};
  [[nodiscard]] bool good() const;
};

/// By which list an attachment is checked.
enum class CheckBy {
  kItsAdd,  ///< as it was added, but for slicer-firewall, whose lists may be edited: that of `network`
  kNow,     ///< `network` as it is: after its plugins were replaced
};

/// Every attachment whose namespace is there, VM or not. Error: kSystem (who is attached cannot be found out).
Result<ExaminedNetwork> examine_network(const Settings& settings, const chain::Conflist& network, CheckBy by);

}  // namespace slicer::runner
