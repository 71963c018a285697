#pragma once
// firewalld's zones by D-Bus, with sd-bus. libsystemd is loaded when a configuration asks for it: other calls of the
// plugin do not pay for it.

#include <memory>
#include <string>

#include "lib/base/result.h"

namespace slicer::firewall {

/// A connection to the system bus. A source is "192.0.2.7/32", as upstream's plugin writes it, so that either can take
/// back what the other put there. Common errors: kUnavailable (no bus, no firewalld, no libsystemd), kBusy (no answer
/// within 10 s), kInvalidConfig (no such zone).
class ZoneBus {
 public:
  static Result<ZoneBus> open();
  ZoneBus(ZoneBus&&) noexcept;
  ZoneBus& operator=(ZoneBus&&) noexcept;
  ~ZoneBus();

  /// What comes from `source` is judged by the zone, now and after a reload of firewalld. Error: kExists (the source is
  /// in another zone).
  Result<void> ensure_source(const std::string& zone, const std::string& source);
  /// The contrary; absent is success, and so is a zone that is gone.
  Result<void> delete_source(const std::string& zone, const std::string& source);
  /// Whether it is so now.
  Result<bool> has_source(const std::string& zone, const std::string& source);
  /// Is firewalld there, with that zone?
  Result<void> probe(const std::string& zone);

  struct Impl;  ///< sd-bus's types are zone_bus.cc's own

 private:
  explicit ZoneBus(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace slicer::firewall
