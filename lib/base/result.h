#pragma once
// Errors as values: Error, Result<T>, TRY.

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace slicer {

/// What went wrong, for the one who decides what to do about it. lib/cni maps each to a CNI error code.
enum class Kind {
  kInternal,            ///< a bug or a failure that no other kind names
  kSystem,              ///< a system call failed; `sys_errno` says how
  kIo,                  ///< reading input or a file failed
  kDecode,              ///< bytes that are not what their format says (JSON, state files)
  kInvalidConfig,       ///< a configuration key has a wrong type or an impossible value
  kInvalidEnvironment,  ///< a CNI_* variable is missing or impossible
  kUnsupportedVersion,  ///< a CNI version that this program does not speak
  kUnsupportedField,    ///< a configuration key that this program must refuse
  kUnsupportedKernel,   ///< the running kernel lacks a feature that cannot be done without
  kHostNetns,           ///< the host's own network namespace where a private one is needed
  kNotFound,            ///< a named object is absent
  kExists,              ///< a named object is there already and is not ours
  kDuplicate,           ///< this owner holds one already
  kExhausted,           ///< nothing left to give
  kBusy,                ///< a lock or a resource was not obtained in time; try again
  kMismatch,            ///< CHECK: an object differs from what ADD made
  kUnavailable,         ///< STATUS: an ADD could not work now
  kDelegate,            ///< a called plugin failed; `code` is its CNI error code
};

/// A failure: `<action> '<object>' [in '<place>']: <cause>` and, apart, what the user can do about it.
struct Error {
  Kind kind = Kind::kInternal;
  std::string message;
  std::string hint = {};  ///< what to do; may be empty
  int sys_errno = 0;      ///< the errno behind it, 0 when there is none
  int code = 0;           ///< kDelegate: the CNI error code received, else 0
};

/// "No such file or directory (ENOENT)"
std::string errno_text(int err);

/// An error made of a failed system call: message "<action>: <errno text>". Pass errno as taken right after the call.
Error errno_error(int err, std::string_view action);

/// A value or an Error; may not be ignored. std::expected's interface, and context().
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
 public:
  using std::expected<T, Error>::expected;

  /// Puts "<step>: " before the message of an error; a value passes through.
  Result context(std::string_view step) && {
    if (!this->has_value()) this->error().message.insert(0, std::string(step) + ": ");
    return std::move(*this);
  }

  /// Sets the hint of an error that has none; a value passes through.
  Result hint(std::string_view text) && {
    if (!this->has_value() && this->error().hint.empty()) this->error().hint = text;
    return std::move(*this);
  }
};

/// Shorthand for `return fail(kind, message, hint);`
inline std::unexpected<Error> fail(Kind kind, std::string message, std::string hint = {}) {
  return std::unexpected(Error{.kind = kind, .message = std::move(message), .hint = std::move(hint)});
}

/// Shorthand for `return fail_errno(err, "open '/x'");`
inline std::unexpected<Error> fail_errno(int err, std::string_view action) {
  return std::unexpected(errno_error(err, action));
}

}  // namespace slicer

/// Evaluates to the value of a Result, or returns its error from the enclosing function. A statement expression, which
/// GCC and Clang both have; the counter keeps a TRY inside another's argument from shadowing it.
/// Not inside the braces that initialise an aggregate: when it returns from there, GCC 12 does not destroy the members
/// that were made before it (string, lock or descriptor). Assign the members one by one instead.
#define TRY(expression) SLICER_TRY_WITH(SLICER_TRY_NAME(__COUNTER__), expression)
#define SLICER_TRY_NAME(counter) SLICER_TRY_PASTE(counter)
#define SLICER_TRY_PASTE(counter) slicer_try_##counter
#define SLICER_TRY_WITH(name, expression)                       \
  __extension__({                                               \
    auto name = (expression);                                   \
    if (!name) return std::unexpected(std::move(name).error()); \
    std::move(name).value();                                    \
  })
