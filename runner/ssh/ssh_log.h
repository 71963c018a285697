#pragma once
// What ssh says of itself (`ssh -E FILE`), apart from what a guest's programs write.

#include <string>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::runner {

class SshLog {
 public:
  static Result<SshLog> make();
  /// A name by which a child opens it, as long as this process lives.
  [[nodiscard]] std::string path() const;
  /// Tells what stands in it, and what can be done about it.
  void tell(const std::string& vm, const std::string& known_hosts, const std::string& public_key) const;

 private:
  explicit SshLog(UniqueFd file) : file_(std::move(file)) {}
  UniqueFd file_;
};

/// The command ran, and a signal ended it: ssh ends with 255 and says nothing.
bool ended_by_signal(const std::string& log);
/// The log's line without what our own ProxyCommand has said already; the hint for it, or empty.
std::string told_of_ssh(const std::string& log);
std::string hint_for_ssh(const std::string& log, const std::string& known_hosts, const std::string& public_key);

}  // namespace slicer::runner
