#pragma once
// One table of one family by libiptc: read as a whole, changed as a whole. libiptc is loaded when the first table is
// opened and not before: programs that use nftables do not pay for it. Private to the iptables files.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/result.h"
#include "lib/base/whole_file.h"
#include "lib/netfilter/iptables/rule.h"

namespace slicer::netfilter {

enum class IptTable : uint8_t { kFilter, kNat, kMangle };
const char* table_name(IptTable table);
/// "iptables" or "ip6tables", for messages.
const char* program_of(addr::Family family);

/// A rule that stands, and how many packets have met it.
struct StandingIptRule {
  IptRule rule = {};
  uint64_t packets = 0;
};

/// Names of the tables that are in use in this network namespace; asking loads nothing and makes none.
/// /proc/net/ip_tables_names, ip6_tables_names.
std::vector<std::string> tables_in_use(addr::Family family);
bool is_in_use(addr::Family family, IptTable table);

/// A snapshot of a table, and changes to it that commit() writes at once.
class IptSession {
 public:
  virtual ~IptSession() = default;
  /// The kernel makes the table in this namespace when it is not there. Errors: kUnsupportedKernel (no legacy tables of
  /// this family, or no libiptc), kSystem (EPERM).
  static Result<std::unique_ptr<IptSession>> open(addr::Family family, IptTable table);

  [[nodiscard]] virtual bool has_chain(const std::string& chain) const = 0;
  [[nodiscard]] virtual std::vector<std::string> chains() const = 0;
  /// In their order; none when there is no such chain.
  [[nodiscard]] virtual std::vector<StandingIptRule> rules(const std::string& chain) const = 0;
  /// Whether a built-in chain drops by default.
  [[nodiscard]] virtual bool drops_by_default(const std::string& chain) const = 0;

  virtual Result<void> create_chain(const std::string& chain) = 0;
  virtual Result<void> flush_chain(const std::string& chain) = 0;
  /// It must be empty, and nothing lead to it.
  virtual Result<void> delete_chain(const std::string& chain) = 0;
  virtual Result<void> append(const std::string& chain, const IptRule& rule) = 0;
  virtual Result<void> insert_first(const std::string& chain, const IptRule& rule) = 0;
  /// `position` counts from 0.
  virtual Result<void> delete_rule(const std::string& chain, size_t position) = 0;
  /// One atomic replacement of the table. Errors: kSystem; kUnsupportedKernel (a match or target that is not there).
  virtual Result<void> commit() = 0;
};

/// Programs hold the lock for milliseconds, or seconds with tens of thousands of rules.
inline constexpr std::chrono::milliseconds kXtablesWait{10000};
/// The lock of all programs that change legacy tables: /run/xtables.lock or $XTABLES_LOCKFILE, as iptables takes it.
/// Error: kBusy after `limit`, naming who holds it where /proc tells.
Result<FileLock> take_xtables_lock(std::chrono::milliseconds limit = kXtablesWait);

}  // namespace slicer::netfilter
