#pragma once
// Rules and sets of isolated networks in nf_tables' form. Private to the isolation files.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/session.h"
#include "lib/netfilter/openings.h"
#include "lib/netfilter/policy.h"

struct nftnl_rule;

namespace slicer::netfilter {

/// A base chain or, without hook, a plain one.
struct IsolationChain {
  std::string name = {};
  bool base = true;
  uint32_t hook = 0;  ///< NF_INET_*
  int32_t priority = 0;
  std::string comment = {};
};

/// Which interface of a packet.
enum class Way : uint8_t { kIn, kOut };

/// One rule: matches, in their order, and a verdict. The table is of the inet family.
class IsolationRule {
 public:
  IsolationRule(const std::string& table, const std::string& chain, const std::string& comment);

  IsolationRule& link(Way way, const std::string& name);
  IsolationRule& links(Way way, const std::string& prefix);  ///< whose names begin so
  IsolationRule& listed_link(Way way, const std::string& set);
  IsolationRule& not_ipv4();
  IsolationRule& source_not(const addr::Ip& ip);
  IsolationRule& destination(const addr::Cidr& prefix);
  IsolationRule& destination_not(const addr::Ip& ip);
  IsolationRule& pair_in(const std::string& set);              ///< source . destination
  IsolationRule& destination_in(const std::string& set);       ///< destination
  IsolationRule& destination_port_in(const std::string& set);  ///< destination . port
  IsolationRule& destination_type(uint32_t type);              ///< RTN_*: what the host's tables say of the address
  IsolationRule& reply();                                      ///< reply direction, established or related
  IsolationRule& protocol(uint8_t number);
  IsolationRule& icmp_type(uint8_t type);
  IsolationRule& has_ipv4_options();
  IsolationRule& limit(uint64_t per_second, uint32_t burst);
  IsolationRule& log(uint16_t group, const std::string& prefix);
  IsolationRule& counter();
  IsolationRule& accept();
  IsolationRule& drop();
  IsolationRule& jump(const std::string& chain);
  IsolationRule& go_to(const std::string& chain);

  [[nodiscard]] const std::string& chain() const { return chain_; }
  /// As the kernel lists it, without counts: equal texts are equal rules.
  [[nodiscard]] std::string text() const;
  /// Appends it to its chain.
  void put(MessageBuffer& out) const;

 private:
  struct Free {
    void operator()(nftnl_rule* rule) const;
  };
  void meta(uint32_t key);
  void payload(uint32_t base, uint32_t offset, uint32_t size, uint32_t reg);
  void ipv4();
  void compare(bool equal, const void* data, size_t size);
  void greater(uint8_t value);
  void mask(std::span<const uint8_t> bits);
  void lookup(const std::string& set);
  void verdict(uint32_t code, const std::string& chain = {});

  std::string chain_;
  bool ipv4_said_ = false;
  std::unique_ptr<nftnl_rule, Free> rule_;
};

/// A rule that stands, as far as comparisons need it.
struct StandingIsolationRule {
  std::string table = {};
  std::string chain = {};
  std::string text = {};  ///< as IsolationRule::text()
};
StandingIsolationRule read_isolation_rule(const nlmsghdr* message);

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
