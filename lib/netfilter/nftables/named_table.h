#pragma once
// Tables of one attachment, and what isolated networks have in the common one: chains, sets and their elements.
// Private to the nftables files.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/session.h"
#include "lib/netfilter/openings.h"
#include "lib/netfilter/policy.h"

namespace slicer::netfilter {

/// A base chain or, without hook, a plain one.
struct IsolationChain {
  std::string name = {};
  bool base = true;
  uint32_t hook = 0;  ///< NF_INET_*
  int32_t priority = 0;
  std::string comment = {};
};

// Questions and steps about a table, of the inet family unless another one is named.
uint32_t ask_table(MessageBuffer& out, const std::string& table, uint16_t family = kInet);
uint32_t ask_set(MessageBuffer& out, const std::string& table, const std::string& set);
/// All rules of the table; a dump, so the last message of a question.
uint32_t ask_table_rules(MessageBuffer& out, const std::string& table, uint16_t family = kInet);
/// A dump, too.
uint32_t ask_pairs(MessageBuffer& out, const std::string& table, const std::string& set);
bool is_table_answer(const nlmsghdr* message);
std::string read_table_comment(const nlmsghdr* message);
bool is_set_answer(const nlmsghdr* message);

void put_named_table(MessageBuffer& out, const std::string& table, const std::string& comment, uint16_t family = kInet);
void delete_named_table(MessageBuffer& out, const std::string& table, uint16_t family = kInet);
void put_isolation_chain(MessageBuffer& out, const std::string& table, const IsolationChain& chain);
/// Removes all rules of a chain.
void flush_chain(MessageBuffer& out, const std::string& table, const std::string& chain);

/// What a set's elements are.
enum class Keys : uint8_t {
  kPairs,         ///< two IPv4 addresses; a hash
  kAddresses,     ///< intervals of IPv4 addresses
  kAddressPorts,  ///< intervals of IPv4 addresses, each with an interval of ports
};
/// `id`: different for each set of a transaction.
void put_set(MessageBuffer& out, const std::string& table, const std::string& set, Keys keys, uint32_t id);

void delete_set(MessageBuffer& out, const std::string& table, const std::string& set);

/// Elements, as many messages as it takes.
void put_addresses(MessageBuffer& out, const std::string& table, const std::string& set,
                   std::span<const AddressVerdict> elements);
void put_address_ports(MessageBuffer& out, const std::string& table, const std::string& set,
                       std::span<const PortVerdict> elements);

void put_pairs(MessageBuffer& out, const std::string& table, const std::string& set, std::span<const Opening> pairs);
void delete_pairs(MessageBuffer& out, const std::string& table, const std::string& set, std::span<const Opening> pairs);
std::vector<Opening> read_pairs(const nlmsghdr* message);

}  // namespace slicer::netfilter
