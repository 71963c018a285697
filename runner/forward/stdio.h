#pragma once
// A connection to a guest on this process's stdin and stdout, for SSH's ProxyCommand.

#include <chrono>
#include <functional>

#include "lib/base/result.h"
#include "runner/forward/dialled.h"

namespace slicer::runner {

/// Dials until the guest answers, for at most `limit` (0: once); a connection that is decided and confirmed. A guest
/// that boots refuses, or does not answer. `alive` false: it will not any more. Errors: those of `dial`, and
/// kUnavailable with the last refusal; sys_errno is ECONNREFUSED when it was one.
Result<UniqueFd> connect_in_time(const std::function<Result<Dialled>()>& dial, const std::function<bool()>& alive,
                                 std::chrono::seconds limit);

/// Carries between the socket and stdin and stdout, until both directions have ended, or `until` is readable. Each ends
/// alone: the end of stdin is the guest's, and the other way round.
Result<void> carry_stdio(UniqueFd socket, int until);

}  // namespace slicer::runner
