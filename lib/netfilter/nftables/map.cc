#include "lib/netfilter/nftables/map.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <tuple>

#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/handles.h"

namespace slicer::netfilter {
namespace {

// nft's numbers of data types, which the kernel only stores (nftables: include/datatype.h); a concatenation has 6 bits
// for each part.
constexpr uint32_t kIpv4Type = 7;
constexpr uint32_t kIpv6Type = 8;
constexpr uint32_t kServiceType = 13;
constexpr uint32_t kTypeBits = 6;
constexpr uint32_t kBigEndian = 2;
constexpr size_t kPortSize = 2;
constexpr size_t kPaddedPortSize = 4;

// The attributes of one message: a nested attribute's length has 16 bits (linux/netlink.h: struct nlattr).
constexpr size_t kElementsRoom = 60000;
constexpr size_t kElementRoom = 512;

size_t address_size(const MapSpec& map) { return addr::bits_of(map.family) / 8; }

using Key = std::array<uint8_t, 20>;

Key key_of(const addr::Ip& ip, uint16_t port) {
  Key key{};
  const auto bytes = ip.bytes();
  std::copy_n(bytes.begin(), ip.size(), key.begin());
  key[ip.size()] = static_cast<uint8_t>(port >> 8);
  key[ip.size() + 1] = static_cast<uint8_t>(port);
  return key;
}

size_t key_size(const MapSpec& map) { return address_size(map) + (map.ports ? kPaddedPortSize : 0); }

SetPtr set_of(const MapSpec& map) {
  SetPtr set(nftnl_set_alloc());
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, map.table.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, map.name.c_str());
  return set;
}

void put_key(nlmsghdr* message, uint16_t type, const Key& key, size_t size) {
  nlattr* nest = mnl_attr_nest_start(message, type);
  mnl_attr_put(message, NFTA_DATA_VALUE, size, key.data());
  mnl_attr_nest_end(message, nest);
}

void put_target(nlmsghdr* message, const MapTarget& target) {
  const int accept_or_drop = target.verdict == PolicyVerdict::kAllow ? NF_ACCEPT : NF_DROP;
  const int code = target.chain.empty() ? accept_or_drop : NFT_GOTO;
  nlattr* data = mnl_attr_nest_start(message, NFTA_SET_ELEM_DATA);
  nlattr* verdict = mnl_attr_nest_start(message, NFTA_DATA_VERDICT);
  mnl_attr_put_u32(message, NFTA_VERDICT_CODE, htonl(static_cast<uint32_t>(code)));
  if (!target.chain.empty()) mnl_attr_put_strz(message, NFTA_VERDICT_CHAIN, target.chain.c_str());
  mnl_attr_nest_end(message, verdict);
  mnl_attr_nest_end(message, data);
}

/// One element as the kernel has it.
struct Piece {
  Key key = {};
  const Key* key_end = nullptr;
  bool ends = false;
  bool open_end = false;  ///< to the last address: nft lists it as a range only with this mark
  const MapElement* element = nullptr;
};

void put_piece(nlmsghdr* message, const MapSpec& map, const Piece& piece) {
  nlattr* nest = mnl_attr_nest_start(message, NFTA_LIST_ELEM);
  put_key(message, NFTA_SET_ELEM_KEY, piece.key, key_size(map));
  if (piece.key_end != nullptr) put_key(message, NFTA_SET_ELEM_KEY_END, *piece.key_end, key_size(map));
  if (piece.ends) mnl_attr_put_u32(message, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
  if (!piece.ends) put_target(message, piece.element->target);
  const bool has_comment = !piece.ends && !piece.element->comment.empty();
  if (has_comment || piece.open_end) {
    const UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
    if (has_comment) nftnl_udata_put_strz(data.get(), NFTNL_UDATA_SET_ELEM_COMMENT, piece.element->comment.c_str());
    if (piece.open_end) nftnl_udata_put_u32(data.get(), NFTNL_UDATA_SET_ELEM_FLAGS, NFTNL_SET_ELEM_F_INTERVAL_OPEN);
    mnl_attr_put(message, NFTA_SET_ELEM_USERDATA, nftnl_udata_buf_len(data.get()), nftnl_udata_buf_data(data.get()));
  }
  mnl_attr_nest_end(message, nest);
}

void put_element(nlmsghdr* message, const MapSpec& map, const MapElement& element) {
  const auto& [first, last] = element.addresses;
  if (map.ports) {
    const Key end = key_of(last, element.ports->last);
    return put_piece(message, map, {.key = key_of(first, element.ports->first), .key_end = &end, .element = &element});
  }
  const bool open_end = map.intervals && last == addr::Ip(map.family, ~addr::Uint128{0});
  put_piece(message, map, {.key = key_of(first, 0), .open_end = open_end, .element = &element});
  if (map.intervals && !open_end)
    put_piece(message, map, {.key = key_of(last.plus(1), 0), .ends = true, .element = &element});
}

/// A message about elements, up to the list of them.
struct OpenList {
  nlmsghdr* message = nullptr;
  nlattr* list = nullptr;
};

OpenList open_list(MessageBuffer& out, const MapSpec& map, uint16_t type, uint16_t flags, size_t room) {
  nlmsghdr* message = out.open(type, map.table_family, flags, room);
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE, map.table.c_str());
  mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, map.name.c_str());
  return {.message = message, .list = mnl_attr_nest_start(message, NFTA_SET_ELEM_LIST_ELEMENTS)};
}

uint32_t close_list(MessageBuffer& out, const OpenList& open) {
  mnl_attr_nest_end(open.message, open.list);
  return out.close();
}

uint32_t put_single_key(MessageBuffer& out, const MapSpec& map, uint16_t type, const addr::Ip& ip) {
  const OpenList open = open_list(out, map, type, 0, MessageBuffer::kMessageRoom);
  nlattr* nest = mnl_attr_nest_start(open.message, NFTA_LIST_ELEM);
  put_key(open.message, NFTA_SET_ELEM_KEY, key_of(ip, 0), key_size(map));
  mnl_attr_nest_end(open.message, nest);
  return close_list(out, open);
}

std::string comment_of(const nftnl_set_elem* element) {
  uint32_t size = 0;
  const void* data = nftnl_set_elem_get(const_cast<nftnl_set_elem*>(element), NFTNL_SET_ELEM_USERDATA, &size);
  return comment_in(data, size);
}

MapTarget target_of(const nftnl_set_elem* element) {
  MapTarget target;
  auto* readable = const_cast<nftnl_set_elem*>(element);  // libnftnl's readers lack the const
  if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_CHAIN))
    target.chain = nftnl_set_elem_get_str(readable, NFTNL_SET_ELEM_CHAIN);
  const bool accepts = nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_VERDICT) &&
                       nftnl_set_elem_get_u32(readable, NFTNL_SET_ELEM_VERDICT) == NF_ACCEPT;
  if (target.chain.empty() && accepts) target.verdict = PolicyVerdict::kAllow;
  return target;
}

struct ReadKey {
  addr::Ip ip = {};
  uint16_t port = 0;
};

ReadKey key_in(nftnl_set_elem* element, uint16_t attribute, const MapSpec& map) {
  uint32_t size = 0;
  const auto* data = static_cast<const uint8_t*>(nftnl_set_elem_get(element, attribute, &size));
  if (data == nullptr || size < key_size(map)) return {};
  const std::span bytes(data, size);
  ReadKey key{.ip = addr::Ip::from_bytes(bytes.first(address_size(map)))};
  if (map.ports) key.port = static_cast<uint16_t>(bytes[address_size(map)] << 8 | bytes[address_size(map) + 1]);
  return key;
}

MapReader::Half read_half(nftnl_set_elem* element, const MapSpec& map) {
  const ReadKey key = key_in(element, NFTNL_SET_ELEM_KEY, map);
  MapReader::Half half{.at = key.ip};
  half.ends = nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS) &&
              (nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS) & NFT_SET_ELEM_INTERVAL_END) != 0;
  half.element = {.addresses = {.first = key.ip, .last = key.ip}, .target = target_of(element)};
  half.element.comment = comment_of(element);
  if (map.ports) {
    const ReadKey end = key_in(element, NFTNL_SET_ELEM_KEY_END, map);
    half.element.addresses.last = end.ip;
    half.element.ports = PortRange{.first = key.port, .last = end.port};
  }
  return half;
}

}  // namespace

void put_map(MessageBuffer& out, const MapSpec& map) {
  const SetPtr set = set_of(map);
  const uint32_t address_type = map.family == addr::Family::kIpv4 ? kIpv4Type : kIpv6Type;
  uint32_t flags = NFT_SET_MAP;
  if (map.intervals) flags |= NFT_SET_INTERVAL;
  if (map.ports) {
    flags |= NFT_SET_CONCAT;
    const std::array<uint8_t, 2> fields{static_cast<uint8_t>(address_size(map)), kPortSize};
    nftnl_set_set_data(set.get(), NFTNL_SET_DESC_CONCAT, fields.data(), fields.size());
  }
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, map.table_family);
  nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, flags);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, map.ports ? address_type << kTypeBits | kServiceType : address_type);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, static_cast<uint32_t>(key_size(map)));
  nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
  nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_LEN, 0);
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, out.count() + 1);  // of this transaction; unique in it
  const UserDataPtr data(nftnl_udata_buf_alloc(NFT_USERDATA_MAXLEN));
  nftnl_udata_put_u32(data.get(), NFTNL_UDATA_SET_KEYBYTEORDER, kBigEndian);
  nftnl_set_set_data(set.get(), NFTNL_SET_USERDATA, nftnl_udata_buf_data(data.get()), nftnl_udata_buf_len(data.get()));
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_NEWSET, map.table_family, NLM_F_CREATE), set.get());
  (void)out.close();
}

void put_map_elements(MessageBuffer& out, const MapSpec& map, const std::vector<MapElement>& elements) {
  for (size_t i = 0; i < elements.size();) {
    const OpenList open = open_list(out, map, NFT_MSG_NEWSETELEM, NLM_F_CREATE, kElementsRoom);
    for (; i < elements.size() && open.message->nlmsg_len + kElementRoom < kElementsRoom; ++i)
      put_element(open.message, map, elements[i]);
    (void)close_list(out, open);
  }
}

void delete_map_element(MessageBuffer& out, const MapSpec& map, const addr::Ip& ip) {
  (void)put_single_key(out, map, NFT_MSG_DELSETELEM, ip);
}

void delete_map(MessageBuffer& out, const MapSpec& map) {
  nftnl_set_nlmsg_build_payload(out.open(NFT_MSG_DELSET, map.table_family), set_of(map).get());
  (void)out.close();
}

uint32_t ask_map_element(MessageBuffer& out, const MapSpec& map, const addr::Ip& ip) {
  return put_single_key(out, map, NFT_MSG_GETSETELEM, ip);
}

uint32_t ask_map_elements(MessageBuffer& out, const MapSpec& map) {
  nftnl_set_elems_nlmsg_build_payload(out.open(NFT_MSG_GETSETELEM, map.table_family, NLM_F_DUMP), set_of(map).get());
  return out.close();
}

std::string read_map_name(const nlmsghdr* message) {
  const SetPtr set(nftnl_set_alloc());
  if (nftnl_set_elems_nlmsg_parse(message, set.get()) < 0) return {};
  const char* name = nftnl_set_get_str(set.get(), NFTNL_SET_NAME);
  return name == nullptr ? std::string() : std::string(name);
}

void MapReader::read(const nlmsghdr* message) {
  const SetPtr set(nftnl_set_alloc());
  if (nftnl_set_elems_nlmsg_parse(message, set.get()) < 0) return;
  const char* name = nftnl_set_get_str(set.get(), NFTNL_SET_NAME);
  if (name == nullptr || map_.name != name) return;
  const auto take = [](nftnl_set_elem* element, void* into) {
    auto* reader = static_cast<MapReader*>(into);
    reader->halves_.push_back(read_half(element, reader->map_));
    return 0;
  };
  nftnl_set_elem_foreach(set.get(), take, this);
}

std::vector<MapElement> MapReader::take() {
  std::ranges::stable_sort(halves_, [](const Half& a, const Half& b) {
    if (a.at != b.at) return a.at < b.at;
    if (a.ends != b.ends) return a.ends;
    return a.element.ports && b.element.ports && a.element.ports->first < b.element.ports->first;
  });
  std::vector<MapElement> elements;
  bool open = false;
  for (Half& half : halves_) {
    if (half.ends && open) elements.back().addresses.last = addr::Ip(map_.family, half.at.value() - 1);
    open = !half.ends && map_.intervals && !map_.ports;
    if (half.ends) continue;
    if (open) half.element.addresses.last = addr::Ip(map_.family, ~addr::Uint128{0});
    elements.push_back(std::move(half.element));
  }
  return elements;
}

}  // namespace slicer::netfilter
