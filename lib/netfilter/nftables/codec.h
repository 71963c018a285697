#pragma once
// Rules, chains and sets between our plain values and nf_tables' messages. Private to the nftables files.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/netfilter/nftables/session.h"
#include "lib/netfilter/ruleset.h"

namespace slicer::netfilter {

inline constexpr const char* kTable = "slicer";
inline constexpr const char* kBridgesSet = "bridges";

inline constexpr uint16_t kInet = 1;    // linux/netfilter.h: NFPROTO_INET
inline constexpr uint16_t kIpv4 = 2;    // NFPROTO_IPV4
inline constexpr uint16_t kIpv6 = 10;   // NFPROTO_IPV6
inline constexpr uint16_t kNetdev = 5;  // NFPROTO_NETDEV
inline constexpr uint16_t kBridge = 7;  // NFPROTO_BRIDGE

/// A chain's place. The family is one of the above.
struct ChainPlace {
  uint16_t family = 0;
  std::string table = {};
  std::string chain = {};
  friend bool operator==(const ChainPlace&, const ChainPlace&) = default;
};

/// A rule as it stands: `rule` is absent when it says something that ours never do.
struct StandingRule {
  ChainPlace place = {};
  uint64_t handle = 0;
  std::string comment = {};
  std::optional<Rule> rule = {};
};

struct StandingChain {
  ChainPlace place = {};
  std::string comment = {};
  std::string type = {};  ///< of a base chain: "filter", "nat"; else empty
  uint32_t hook = 0;      ///< NF_INET_*
  int32_t priority = 0;
  bool policy_drop = false;
  uint32_t uses = 0;  ///< its rules, and the jumps that lead to it
};

struct StandingElement {
  std::string key = {};
  std::string comment = {};
};

/// Of a base chain.
struct BaseHook {
  const char* type = "filter";
  uint32_t hook = 0;  ///< NF_INET_*, or NF_NETDEV_* in a netdev table
  int32_t priority = 0;
  std::string device = {};  ///< netdev: the link
};

/// What an answer is about.
enum class AnswerKind : uint8_t { kGeneration, kChain, kRule, kElements, kOther };
AnswerKind kind_of(const nlmsghdr* message);

// Questions. Each appends one message and returns its sequence number.
uint32_t ask_generation(MessageBuffer& out);
uint32_t ask_chain(MessageBuffer& out, const ChainPlace& place);
uint32_t ask_bridge(MessageBuffer& out, const std::string& bridge);
// Dumps: the last message of a question.
uint32_t ask_rules(MessageBuffer& out, const ChainPlace& place);
uint32_t ask_all_chains(MessageBuffer& out, uint16_t family);
uint32_t ask_all_rules(MessageBuffer& out, uint16_t family, const std::string& table);
uint32_t ask_sets(MessageBuffer& out);
uint32_t ask_bridges(MessageBuffer& out);

// Answers.
uint32_t read_generation(const nlmsghdr* message);
/// Asks and reads it. What is read after it may be newer: a transaction made for it then fails.
Result<uint32_t> read_current_generation(NftSession& session);
std::optional<StandingChain> read_chain(const nlmsghdr* message);
std::optional<StandingRule> read_rule(const nlmsghdr* message);
std::string read_set_name(const nlmsghdr* message);
std::vector<StandingElement> read_elements(const nlmsghdr* message);

/// The comment in the user data of a chain, rule or element.
std::string comment_in(const void* data, uint32_t size);

/// Is it the base chain that `chain` describes?
bool is_chain(const StandingChain& standing, const Chain& chain);

enum class Position : uint8_t { kHead, kEnd };

// Steps of a transaction.
void put_table(MessageBuffer& out);
void put_chain(MessageBuffer& out, const Chain& chain);
void put_base_chain(MessageBuffer& out, const ChainPlace& place, const BaseHook& base, const std::string& comment);
/// One that packets reach only by a jump.
void put_plain_chain(MessageBuffer& out, const ChainPlace& place, const std::string& comment);
void put_rule(MessageBuffer& out, const ChainPlace& place, const Rule& rule, Position position);
void put_bridges_set(MessageBuffer& out);
void put_bridge(MessageBuffer& out, const std::string& bridge, const std::string& comment);
void delete_table(MessageBuffer& out);
void delete_chain(MessageBuffer& out, const ChainPlace& place);
void delete_rule(MessageBuffer& out, const ChainPlace& place, uint64_t handle);
void delete_bridge(MessageBuffer& out, const std::string& bridge);

}  // namespace slicer::netfilter
