#include "lib/netfilter/nftables/codec.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <net/if.h>

#include <array>
#include <cstring>
#include <memory>
#include <span>

#include "lib/netfilter/nftables/expr.h"
#include "lib/netfilter/nftables/handles.h"

namespace slicer::netfilter {
namespace {

static_assert(kInet == NFPROTO_INET && kIpv4 == NFPROTO_IPV4 && kIpv6 == NFPROTO_IPV6 && kNetdev == NFPROTO_NETDEV &&
              kBridge == NFPROTO_BRIDGE);

constexpr uint32_t kIfnameType = 41;         // nft's datatype number of "ifname"; the kernel only stores it
constexpr uint32_t kHostEndian = 1;          // nft's byte order of a set's keys, in the set's user data
constexpr int32_t kFilterPriority = 0;       // linux/netfilter_ipv4.h: NF_IP_PRI_FILTER
constexpr int32_t kSourceNatPriority = 100;  // NF_IP_PRI_NAT_SRC

std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }

UserDataPtr comment_data(const std::string& comment) {
  UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  if (!comment.empty()) nftnl_udata_put_strz(data.get(), NFTNL_UDATA_RULE_COMMENT, comment.c_str());
  return data;
}

ChainPtr chain_at(const ChainPlace& place) {
  ChainPtr chain(nftnl_chain_alloc());
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TABLE, place.table.c_str());
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_NAME, place.chain.c_str());
  return chain;
}

RulePtr rule_at(const ChainPlace& place) {
  RulePtr rule(nftnl_rule_alloc());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, place.table.c_str());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_CHAIN, place.chain.c_str());
  return rule;
}

SetPtr bridges_set() {
  SetPtr set(nftnl_set_alloc());
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, kTable);
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, kBridgesSet);
  return set;
}

void add_element(nftnl_set* set, const std::string& bridge, const std::string& comment) {
  std::array<char, IFNAMSIZ> key{};
  bridge.copy(key.data(), key.size() - 1);
  nftnl_set_elem* element = nftnl_set_elem_alloc();
  nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key.data(), key.size());
  if (!comment.empty()) {
    const UserDataPtr data = comment_data(comment);
    nftnl_set_elem_set(element, NFTNL_SET_ELEM_USERDATA, nftnl_udata_buf_data(data.get()),
                       nftnl_udata_buf_len(data.get()));
  }
  nftnl_set_elem_add(set, element);
}

BaseHook base_chain(Hook hook) {
  if (hook == Hook::kForward) return {.type = "filter", .hook = NF_INET_FORWARD, .priority = kFilterPriority};
  return {.type = "nat", .hook = NF_INET_POST_ROUTING, .priority = kSourceNatPriority};
}

void set_comment(nftnl_chain* chain, const std::string& comment) {
  const UserDataPtr data = comment_data(comment);
  nftnl_chain_set_data(chain, NFTNL_CHAIN_USERDATA, nftnl_udata_buf_data(data.get()), nftnl_udata_buf_len(data.get()));
}

}  // namespace

/// The comment in user data: attributes of one byte type, one byte length. Type 0 is the comment in rules, chains and
/// elements alike.
std::string comment_in(const void* data, uint32_t size) {
  const std::span bytes(static_cast<const char*>(data), data == nullptr ? 0 : size);
  for (size_t at = 0; at + 2 <= bytes.size();) {
    const auto length = static_cast<uint8_t>(bytes[at + 1]);
    if (at + 2 + length > bytes.size()) break;
    if (bytes[at] == NFTNL_UDATA_RULE_COMMENT) return {&bytes[at + 2], strnlen(&bytes[at + 2], length)};
    at += size_t{2} + length;
  }
  return {};
}

AnswerKind kind_of(const nlmsghdr* message) {
  switch (NFNL_MSG_TYPE(message->nlmsg_type)) {
    case NFT_MSG_NEWGEN:
      return AnswerKind::kGeneration;
    case NFT_MSG_NEWCHAIN:
      return AnswerKind::kChain;
    case NFT_MSG_NEWRULE:
      return AnswerKind::kRule;
    case NFT_MSG_NEWSETELEM:
      return AnswerKind::kElements;
    default:
      return AnswerKind::kOther;
  }
}

uint32_t ask_generation(MessageBuffer& out) {
  out.open(NFT_MSG_GETGEN, NFPROTO_UNSPEC);
  return out.close();
}

uint32_t ask_chain(MessageBuffer& out, const ChainPlace& place) {
  nftnl_chain_nlmsg_build_payload(out.open(NFT_MSG_GETCHAIN, place.family), chain_at(place).get());
  return out.close();
}

uint32_t ask_bridge(MessageBuffer& out, const std::string& bridge) {
  const SetPtr set = bridges_set();
  add_element(set.get(), bridge, {});
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_GETSETELEM, kInet), set.get());
  return out.close();
}

uint32_t ask_rules(MessageBuffer& out, const ChainPlace& place) {
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_GETRULE, place.family, NLM_F_DUMP), rule_at(place).get());
  return out.close();
}

uint32_t ask_all_chains(MessageBuffer& out, uint16_t family) {
  out.open(NFT_MSG_GETCHAIN, family, NLM_F_DUMP);
  return out.close();
}

uint32_t ask_all_rules(MessageBuffer& out, uint16_t family, const std::string& table) {
  const RulePtr rule(nftnl_rule_alloc());
  nftnl_rule_set_str(rule.get(), NFTNL_RULE_TABLE, table.c_str());
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_GETRULE, family, NLM_F_DUMP), rule.get());
  return out.close();
}

uint32_t ask_sets(MessageBuffer& out) {
  const SetPtr set(nftnl_set_alloc());
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, kTable);
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_GETSET, kInet, NLM_F_DUMP), set.get());
  return out.close();
}

uint32_t ask_bridges(MessageBuffer& out) {
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_GETSETELEM, kInet, NLM_F_DUMP), bridges_set().get());
  return out.close();
}

uint32_t read_generation(const nlmsghdr* message) {
  uint32_t generation = 0;
  const auto take = [](const nlattr* attribute, void* into) {
    if (mnl_attr_get_type(attribute) == NFTA_GEN_ID) *static_cast<uint32_t*>(into) = ntohl(mnl_attr_get_u32(attribute));
    return MNL_CB_OK;
  };
  (void)mnl_attr_parse(message, sizeof(nfgenmsg), take, &generation);  // stops at what is no attribute
  return generation;
}

Result<uint32_t> read_current_generation(NftSession& session) {
  MessageBuffer question;
  ask_generation(question);
  uint32_t generation = 0;
  (void)TRY(session.ask(question, [&](uint32_t, const nlmsghdr* message) {
    if (kind_of(message) == AnswerKind::kGeneration) generation = read_generation(message);
  }));
  return generation;
}

std::optional<StandingChain> read_chain(const nlmsghdr* message) {
  const ChainPtr chain(nftnl_chain_alloc());
  if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0) return std::nullopt;
  StandingChain standing{
      .place = {.family = static_cast<uint16_t>(nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_FAMILY)),
                .table = text_of(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TABLE)),
                .chain = text_of(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_NAME))}};
  uint32_t size = 0;
  const void* data = nftnl_chain_get_data(chain.get(), NFTNL_CHAIN_USERDATA, &size);
  standing.comment = comment_in(data, size);
  standing.uses = nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_USE);
  if (!nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_TYPE)) return standing;
  standing.type = text_of(nftnl_chain_get_str(chain.get(), NFTNL_CHAIN_TYPE));
  standing.hook = nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_HOOKNUM);
  standing.priority = nftnl_chain_get_s32(chain.get(), NFTNL_CHAIN_PRIO);
  standing.policy_drop = nftnl_chain_is_set(chain.get(), NFTNL_CHAIN_POLICY) &&
                         nftnl_chain_get_u32(chain.get(), NFTNL_CHAIN_POLICY) == NF_DROP;
  return standing;
}

std::optional<StandingRule> read_rule(const nlmsghdr* message) {
  const RulePtr rule(nftnl_rule_alloc());
  if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return std::nullopt;
  StandingRule standing{.place = {.family = static_cast<uint16_t>(nftnl_rule_get_u32(rule.get(), NFTNL_RULE_FAMILY)),
                                  .table = text_of(nftnl_rule_get_str(rule.get(), NFTNL_RULE_TABLE)),
                                  .chain = text_of(nftnl_rule_get_str(rule.get(), NFTNL_RULE_CHAIN))},
                        .handle = nftnl_rule_get_u64(rule.get(), NFTNL_RULE_HANDLE)};
  uint32_t size = 0;
  const void* data = nftnl_rule_get_data(rule.get(), NFTNL_RULE_USERDATA, &size);
  DecodedRule decoded = decode_expressions(rule.get());
  standing.comment = data != nullptr ? comment_in(data, size) : decoded.xt_comment;
  if (decoded.rule) decoded.rule->comment = standing.comment;
  standing.rule = std::move(decoded.rule);
  return standing;
}

std::string read_set_name(const nlmsghdr* message) {
  const SetPtr set(nftnl_set_alloc());
  if (nftnl_set_nlmsg_parse(message, set.get()) < 0) return {};
  return text_of(nftnl_set_get_str(set.get(), NFTNL_SET_NAME));
}

std::vector<StandingElement> read_elements(const nlmsghdr* message) {
  std::vector<StandingElement> elements;
  const SetPtr set(nftnl_set_alloc());
  if (nftnl_set_elems_nlmsg_parse(message, set.get()) < 0) return elements;
  const auto read_one = [](nftnl_set_elem* element, void* into) {
    uint32_t size = 0;
    const void* key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &size);
    StandingElement standing;
    if (key != nullptr)
      standing.key.assign(static_cast<const char*>(key), strnlen(static_cast<const char*>(key), size));
    uint32_t data_size = 0;
    const void* data = nftnl_set_elem_get(element, NFTNL_SET_ELEM_USERDATA, &data_size);
    standing.comment = comment_in(data, data_size);
    static_cast<std::vector<StandingElement>*>(into)->push_back(std::move(standing));
    return 0;
  };
  nftnl_set_elem_foreach(set.get(), read_one, &elements);
  return elements;
}

bool is_chain(const StandingChain& standing, const Chain& chain) {
  const BaseHook base = base_chain(chain.hook);
  return standing.type == base.type && standing.hook == base.hook && standing.priority == base.priority;
}

void put_table(MessageBuffer& out) {
  const TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, kTable);
  nftnl_table_nlmsg_build_payload(out.open(NFT_MSG_NEWTABLE, kInet, NLM_F_CREATE), table.get());
  (void)out.close();
}

void put_chain(MessageBuffer& out, const Chain& description) {
  put_base_chain(out, {.family = kInet, .table = kTable, .chain = description.name}, base_chain(description.hook),
                 description.comment);
}

void put_base_chain(MessageBuffer& out, const ChainPlace& place, const BaseHook& base, const std::string& comment) {
  const ChainPtr chain = chain_at(place);
  nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_TYPE, base.type);
  nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_HOOKNUM, base.hook);
  nftnl_chain_set_s32(chain.get(), NFTNL_CHAIN_PRIO, base.priority);
  nftnl_chain_set_u32(chain.get(), NFTNL_CHAIN_POLICY, NF_ACCEPT);
  if (!base.device.empty()) nftnl_chain_set_str(chain.get(), NFTNL_CHAIN_DEV, base.device.c_str());
  set_comment(chain.get(), comment);
  nftnl_chain_nlmsg_build_payload(out.open(NFT_MSG_NEWCHAIN, place.family, NLM_F_CREATE), chain.get());
  (void)out.close();
}

void put_plain_chain(MessageBuffer& out, const ChainPlace& place, const std::string& comment) {
  const ChainPtr chain = chain_at(place);
  set_comment(chain.get(), comment);
  nftnl_chain_nlmsg_build_payload(out.open(NFT_MSG_NEWCHAIN, place.family, NLM_F_CREATE), chain.get());
  (void)out.close();
}

void put_rule(MessageBuffer& out, const ChainPlace& place, const Rule& description, Position position) {
  const RulePtr rule = rule_at(place);
  nftnl_rule_set_u32(rule.get(), NFTNL_RULE_FAMILY, place.family);
  encode_expressions(rule.get(), description, place.family == kInet);
  const UserDataPtr comment = comment_data(description.comment);
  nftnl_rule_set_data(rule.get(), NFTNL_RULE_USERDATA, nftnl_udata_buf_data(comment.get()),
                      nftnl_udata_buf_len(comment.get()));
  const uint16_t flags = position == Position::kEnd ? NLM_F_CREATE | NLM_F_APPEND : NLM_F_CREATE;
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_NEWRULE, place.family, flags), rule.get());
  (void)out.close();
}

void put_bridges_set(MessageBuffer& out) {
  const SetPtr set = bridges_set();
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, kInet);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, kIfnameType);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, IFNAMSIZ);
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, 1);  // of this transaction
  const UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_u32(data.get(), NFTNL_UDATA_SET_KEYBYTEORDER, kHostEndian);
  nftnl_set_set_data(set.get(), NFTNL_SET_USERDATA, nftnl_udata_buf_data(data.get()), nftnl_udata_buf_len(data.get()));
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_NEWSET, kInet, NLM_F_CREATE), set.get());
  (void)out.close();
}

void put_bridge(MessageBuffer& out, const std::string& bridge, const std::string& comment) {
  const SetPtr set = bridges_set();
  add_element(set.get(), bridge, comment);
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_NEWSETELEM, kInet, NLM_F_CREATE), set.get());
  (void)out.close();
}

void delete_table(MessageBuffer& out) {
  const TablePtr table(nftnl_table_alloc());
  nftnl_table_set_str(table.get(), NFTNL_TABLE_NAME, kTable);
  nftnl_table_nlmsg_build_payload(out.open(NFT_MSG_DELTABLE, kInet), table.get());
  (void)out.close();
}

void delete_chain(MessageBuffer& out, const ChainPlace& place) {
  nftnl_chain_nlmsg_build_payload(out.open(NFT_MSG_DELCHAIN, place.family), chain_at(place).get());
  (void)out.close();
}

void delete_rule(MessageBuffer& out, const ChainPlace& place, uint64_t handle) {
  const RulePtr rule = rule_at(place);
  nftnl_rule_set_u64(rule.get(), NFTNL_RULE_HANDLE, handle);
  nftnl_rule_nlmsg_build_payload(out.open(NFT_MSG_DELRULE, place.family), rule.get());
  (void)out.close();
}

void delete_bridge(MessageBuffer& out, const std::string& bridge) {
  const SetPtr set = bridges_set();
  add_element(set.get(), bridge, {});
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_DELSETELEM, kInet), set.get());
  (void)out.close();
}

}  // namespace slicer::netfilter
