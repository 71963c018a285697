// Tables, chains, sets and elements of isolated networks.
#include "lib/netfilter/nftables/named_table.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/handles.h"

namespace slicer::netfilter {
namespace {

// nft's datatype numbers, which the kernel only stores: ipv4_addr, inet_service, and how a concatenation is written.
constexpr uint32_t kAddressType = 7;
constexpr uint32_t kPortType = 13;
constexpr uint32_t kTypeBits = 6;
/// Elements go in messages of at most this size: less than a MessageBuffer's room for one.
constexpr size_t kElementsRoom = 3500;

using AddressKey = std::array<uint8_t, 4>;
using PairKey = std::array<uint8_t, 8>;

// The comment is attribute 0 of tables, chains, rules and elements alike.
UserDataPtr comment_data(const std::string& comment) {
  UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_strz(data.get(), NFTNL_UDATA_RULE_COMMENT, comment.c_str());
  return data;
}

std::string comment_in(std::span<const uint8_t> bytes) {
  if (bytes.size() < 2 || bytes[0] != NFTNL_UDATA_RULE_COMMENT || bytes.size() < size_t{2} + bytes[1]) return {};
  const auto* text = reinterpret_cast<const char*>(bytes.data() + 2);
  return {text, strnlen(text, bytes[1])};
}

TablePtr named_table(const std::string& name) {
  TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, name.c_str());
  return table;
}

SetPtr named_set(const std::string& table, const std::string& name) {
  SetPtr set(nftnl_set_alloc());
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table.c_str());
  if (!name.empty()) nftnl_set_set_str(set.get(), NFTNL_SET_NAME, name.c_str());
  return set;
}

AddressKey key_of(const addr::Ip& ip) {
  const auto bytes = ip.bytes();
  return {bytes[0], bytes[1], bytes[2], bytes[3]};
}

PairKey key_of(const Opening& opening) {
  PairKey key{};
  std::ranges::copy(key_of(opening.source), key.begin());
  std::ranges::copy(key_of(opening.destination), key.begin() + 4);
  return key;
}

/// Each field of a concatenation begins at a multiple of four bytes.
PairKey key_of(const addr::Ip& ip, uint16_t port) {
  PairKey key{};
  std::ranges::copy(key_of(ip), key.begin());
  key[4] = static_cast<uint8_t>(port >> 8);
  key[5] = static_cast<uint8_t>(port);
  return key;
}

/// Elements straight into messages: libnftnl's objects cost more than the kernel's own work when there are thousands.
class ElementWriter {
 public:
  ElementWriter(MessageBuffer& out, uint16_t type, const std::string& table, const std::string& set)
      : out_(out), type_(type), table_(table), set_(set) {}
  ElementWriter(const ElementWriter&) = delete;
  ElementWriter& operator=(const ElementWriter&) = delete;
  ~ElementWriter() { finish(); }

  struct Element {
    std::span<const uint8_t> key = {};
    std::span<const uint8_t> key_end = {};
    bool interval_end = false;
    const std::string* comment = nullptr;
  };
  void add(const Element& element) {
    if (message_ != nullptr && message_->nlmsg_len > kElementsRoom) finish();
    if (message_ == nullptr) begin();
    nlattr* nest = mnl_attr_nest_start(message_, NFTA_LIST_ELEM);
    if (element.interval_end) mnl_attr_put_u32(message_, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
    put_key(NFTA_SET_ELEM_KEY, element.key);
    if (!element.key_end.empty()) put_key(NFTA_SET_ELEM_KEY_END, element.key_end);
    if (element.comment != nullptr && !element.comment->empty()) {
      const UserDataPtr data = comment_data(*element.comment);
      mnl_attr_put(message_, NFTA_SET_ELEM_USERDATA, nftnl_udata_buf_len(data.get()), nftnl_udata_buf_data(data.get()));
    }
    mnl_attr_nest_end(message_, nest);
  }

 private:
  void begin() {
    message_ = out_.open(type_, kInet, type_ == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0);
    mnl_attr_put_strz(message_, NFTA_SET_ELEM_LIST_TABLE, table_.c_str());
    mnl_attr_put_strz(message_, NFTA_SET_ELEM_LIST_SET, set_.c_str());
    list_ = mnl_attr_nest_start(message_, NFTA_SET_ELEM_LIST_ELEMENTS);
  }
  void finish() {
    if (message_ == nullptr) return;
    mnl_attr_nest_end(message_, list_);
    (void)out_.close();
    message_ = nullptr;
  }
  void put_key(uint16_t attribute, std::span<const uint8_t> key) {
    nlattr* nest = mnl_attr_nest_start(message_, attribute);
    mnl_attr_put(message_, NFTA_DATA_VALUE, key.size(), key.data());
    mnl_attr_nest_end(message_, nest);
  }

  MessageBuffer& out_;
  uint16_t type_;
  const std::string& table_;
  const std::string& set_;
  nlmsghdr* message_ = nullptr;
  nlattr* list_ = nullptr;
};

}  // namespace

uint32_t ask_table(MessageBuffer& out, const std::string& table, uint16_t family) {
  nftnl_table_nlmsg_build_payload(out.open(NFT_MSG_GETTABLE, family), named_table(table).get());
  return out.close();
}

uint32_t ask_set(MessageBuffer& out, const std::string& table, const std::string& set) {
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_GETSET, kInet), named_set(table, set).get());
  return out.close();
}

uint32_t ask_table_rules(MessageBuffer& out, const std::string& table, uint16_t family) {
  const RulePtr rule(nftnl_rule_alloc());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_GETRULE, family, NLM_F_DUMP), rule.get());
  return out.close();
}

uint32_t ask_pairs(MessageBuffer& out, const std::string& table, const std::string& set) {
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_GETSETELEM, kInet, NLM_F_DUMP), named_set(table, set).get());
  return out.close();
}

bool is_table_answer(const nlmsghdr* message) { return NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWTABLE; }
bool is_set_answer(const nlmsghdr* message) { return NFNL_MSG_TYPE(message->nlmsg_type) == NFT_MSG_NEWSET; }

std::string read_table_comment(const nlmsghdr* message) {
  const TablePtr table(nftnl_table_alloc());
  if (nftnl_table_nlmsg_parse(message, table.get()) < 0) return {};
  uint32_t size = 0;
  const void* data = nftnl_table_get_data(table.get(), NFTNL_TABLE_USERDATA, &size);
  return data == nullptr ? std::string() : comment_in({static_cast<const uint8_t*>(data), size});
}

void put_named_table(MessageBuffer& out, const std::string& name, const std::string& comment, uint16_t family) {
  const TablePtr table = named_table(name);
  const UserDataPtr data = comment_data(comment);
  if (!comment.empty())
    nftnl_table_set_data(table.get(), NFTNL_TABLE_USERDATA, nftnl_udata_buf_data(data.get()),
                         nftnl_udata_buf_len(data.get()));
  nftnl_table_nlmsg_build_payload(out.open(NFT_MSG_NEWTABLE, family, NLM_F_CREATE), table.get());
  (void)out.close();
}

void delete_named_table(MessageBuffer& out, const std::string& name, uint16_t family) {
  nftnl_table_nlmsg_build_payload(out.open(NFT_MSG_DELTABLE, family), named_table(name).get());
  (void)out.close();
}

void put_isolation_chain(MessageBuffer& out, const std::string& table, const IsolationChain& description) {
  const ChainPtr chain(nftnl_chain_alloc());
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, table.c_str());
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, description.name.c_str());
  if (description.base) {
    nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, "filter");
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, description.hook);
    nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, description.priority);
    nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  }
  const UserDataPtr data = comment_data(description.comment);
  if (!description.comment.empty())
    nftnl_chain_set_data(chain.get(), NFTNL_CHAIN_USERDATA, nftnl_udata_buf_data(data.get()),
                         nftnl_udata_buf_len(data.get()));
  nftnl_chain_nlmsg_build_payload(out.open(NFT_MSG_NEWCHAIN, kInet, NLM_F_CREATE), chain.get());
  (void)out.close();
}

void flush_chain(MessageBuffer& out, const std::string& table, const std::string& chain) {
  const RulePtr rule(nftnl_rule_alloc());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, chain.c_str());
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_DELRULE, kInet), rule.get());
  (void)out.close();
}

void put_set(MessageBuffer& out, const std::string& table, const std::string& name, Keys keys, uint32_t id) {
  const SetPtr set = named_set(table, name);
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, kInet);
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, id);
  const uint32_t second = keys == Keys::kPairs ? kAddressType : kPortType;
  const uint32_t type = keys == Keys::kAddresses ? kAddressType : kAddressType << kTypeBits | second;
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, type);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, keys == Keys::kAddresses ? sizeof(AddressKey) : sizeof(PairKey));
  if (keys == Keys::kAddresses) nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, NFT_SET_INTERVAL);
  if (keys == Keys::kAddressPorts) {
    constexpr std::array<uint8_t, 2> kFields{4, 2};
    nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, NFT_SET_INTERVAL | NFT_SET_CONCAT);
    nftnl_set_set_data(set.get(), NFTNL_SET_DESC_CONCAT, kFields.data(), kFields.size());
  }
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_NEWSET, kInet, NLM_F_CREATE), set.get());
  (void)out.close();
}

void delete_set(MessageBuffer& out, const std::string& table, const std::string& name) {
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_DELSET, kInet), named_set(table, name).get());
  (void)out.close();
}

void put_addresses(MessageBuffer& out, const std::string& table, const std::string& set,
                   std::span<const AddressVerdict> elements) {
  ElementWriter writer(out, NFT_MSG_NEWSETELEM, table, set);
  const addr::Ip top(addr::Family::kIpv4, ~addr::Uint128{0});
  for (const AddressVerdict& element : elements) {
    const AddressKey first = key_of(element.addresses.first);
    writer.add({.key = first});
    if (element.addresses.last == top) continue;  // an interval without end reaches the last address
    const AddressKey behind = key_of(element.addresses.last.plus(1));
    writer.add({.key = behind, .interval_end = true});
  }
}

void put_address_ports(MessageBuffer& out, const std::string& table, const std::string& set,
                       std::span<const PortVerdict> elements) {
  ElementWriter writer(out, NFT_MSG_NEWSETELEM, table, set);
  for (const PortVerdict& element : elements) {
    const PairKey first = key_of(element.addresses.first, element.ports.first);
    const PairKey last = key_of(element.addresses.last, element.ports.last);
    writer.add({.key = first, .key_end = last});
  }
}

void put_pairs(MessageBuffer& out, const std::string& table, const std::string& set, std::span<const Opening> pairs) {
  ElementWriter writer(out, NFT_MSG_NEWSETELEM, table, set);
  for (const Opening& opening : pairs) {
    const PairKey key = key_of(opening);
    writer.add({.key = key, .comment = &opening.comment});
  }
}

void delete_pairs(MessageBuffer& out, const std::string& table, const std::string& set,
                  std::span<const Opening> pairs) {
  ElementWriter writer(out, NFT_MSG_DELSETELEM, table, set);
  for (const Opening& opening : pairs) {
    const PairKey key = key_of(opening);
    writer.add({.key = key});
  }
}

std::vector<Opening> read_pairs(const nlmsghdr* message) {
  std::vector<Opening> pairs;
  const SetPtr set(nftnl_set_alloc());
  if (nftnl_set_elems_nlmsg_parse(message, set.get()) < 0) return pairs;
  const auto read_one = [](nftnl_set_elem* element, void* into) {
    uint32_t size = 0;
    const auto* key = static_cast<const uint8_t*>(nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &size));
    if (key == nullptr || size != sizeof(PairKey)) return 0;
    Opening opening{.source = addr::Ip::from_bytes({key, 4}), .destination = addr::Ip::from_bytes({key + 4, 4})};
    const auto* data = static_cast<const uint8_t*>(nftnl_set_elem_get(element, NFTNL_SET_ELEM_USERDATA, &size));
    if (data != nullptr) opening.comment = comment_in({data, size});
    static_cast<std::vector<Opening>*>(into)->push_back(std::move(opening));
    return 0;
  };
  nftnl_set_elem_foreach(set.get(), read_one, &pairs);
  return pairs;
}

}  // namespace slicer::netfilter
