#pragma once
// An ADD that is run again on an attachment that stands, with its own result (`slicer-run network reload`).

#include "lib/cni/net_conf.h"

namespace slicer::cni {

/// In the configuration of such an ADD: true.
inline constexpr const char* kRepeatedKey = "slicer.dev/repeated";

/// Has the caller said so, and sent the attachment's result?
inline bool is_repeated(const NetConf& conf) { return conf.prev_result && conf.raw.contains(kRepeatedKey); }

}  // namespace slicer::cni
