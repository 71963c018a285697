#pragma once
// Private to lib/net: building and reading netlink messages with libnl.

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "lib/addr/ip.h"
#include "lib/addr/mac.h"
#include "lib/net/netlink.h"

namespace slicer::net {

/// A request under construction. Running out of room is remembered and reported when it is sent, so that the builders
/// need no checks between the attributes.
class Message {
 public:
  /// `flags` beside NLM_F_REQUEST; `room` for everything in it.
  explicit Message(uint16_t type, int flags = 0, size_t room = 1024);

  /// The family header (ifinfomsg, rtmsg, …): the first thing after construction.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Message& header(const T& value) {
    failed_ |= nlmsg_append(msg_.get(), const_cast<T*>(&value), sizeof value, NLMSG_ALIGNTO) != 0;
    return *this;
  }
  Message& bytes(int attribute, std::span<const uint8_t> value);
  Message& u8(int attribute, uint8_t value) { return plain(attribute, value); }
  Message& u16(int attribute, uint16_t value) { return plain(attribute, value); }
  Message& u32(int attribute, uint32_t value) { return plain(attribute, value); }
  Message& s32(int attribute, int32_t value) { return plain(attribute, value); }
  /// With its closing zero.
  Message& text(int attribute, const std::string& value);
  /// Without a closing zero.
  Message& chars(int attribute, std::string_view value);
  Message& mac(int attribute, const addr::Mac& value) { return bytes(attribute, value.bytes); }
  Message& ip(int attribute, const addr::Ip& value);
  template <class T>
    requires std::is_trivially_copyable_v<T>
  Message& plain(int attribute, const T& value) {
    failed_ |= nla_put(msg_.get(), attribute, sizeof value, &value) != 0;
    return *this;
  }
  /// What `body` puts stands inside `attribute`.
  template <class F>
  Message& nest(int attribute, F&& body) {
    nlattr* const open = nla_nest_start(msg_.get(), attribute);
    if (open == nullptr) {
      failed_ = true;
      return *this;
    }
    body();
    failed_ |= nla_nest_end_keep_empty(msg_.get(), open) != 0;
    return *this;
  }

  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] nlmsghdr& raw() { return *nlmsg_hdr(msg_.get()); }
  [[nodiscard]] nl_msg* libnl() { return msg_.get(); }

 private:
  struct Free {
    void operator()(nl_msg* msg) const { nlmsg_free(msg); }
  };
  std::unique_ptr<nl_msg, Free> msg_;
  bool failed_ = false;
};

/// The attributes behind a family header, by number; nullptr: absent.
template <int kMax>
class Attributes {
 public:
  Attributes(nlmsghdr& message, size_t header_size) {
    if (nlmsg_parse(&message, static_cast<int>(header_size), table_, kMax, nullptr) != 0) clear();
  }
  explicit Attributes(nlattr* nest) {
    if (nest == nullptr || nla_parse_nested(table_, kMax, nest, nullptr) != 0) clear();
  }
  [[nodiscard]] nlattr* get(int number) const { return table_[number]; }
  [[nodiscard]] bool has(int number) const { return table_[number] != nullptr; }
  /// The number itself, when the attribute is there and has that size.
  template <class T>
  [[nodiscard]] std::optional<T> number(int number) const {
    if (!has(number) || static_cast<size_t>(nla_len(table_[number])) < sizeof(T)) return std::nullopt;
    T value;
    std::memcpy(&value, nla_data(table_[number]), sizeof value);
    return value;
  }
  [[nodiscard]] std::span<const uint8_t> bytes(int number) const {
    if (!has(number)) return {};
    return {static_cast<const uint8_t*>(nla_data(table_[number])), static_cast<size_t>(nla_len(table_[number]))};
  }
  /// Up to the first zero byte.
  [[nodiscard]] std::string text(int number) const;
  [[nodiscard]] std::optional<addr::Mac> mac(int number) const;
  [[nodiscard]] std::optional<addr::Ip> ip(int number) const;

 private:
  void clear() { std::memset(table_, 0, sizeof table_); }
  nlattr* table_[kMax + 1];
};

std::string attribute_text(std::span<const uint8_t> bytes);
std::optional<addr::Mac> attribute_mac(std::span<const uint8_t> bytes);
std::optional<addr::Ip> attribute_ip(std::span<const uint8_t> bytes);

template <int kMax>
std::string Attributes<kMax>::text(int number) const {
  return attribute_text(bytes(number));
}
template <int kMax>
std::optional<addr::Mac> Attributes<kMax>::mac(int number) const {
  return attribute_mac(bytes(number));
}
template <int kMax>
std::optional<addr::Ip> Attributes<kMax>::ip(int number) const {
  return attribute_ip(bytes(number));
}

/// What an NLMSG_ERROR says; errno 0: an ack.
struct Verdict {
  int err = 0;
  std::string text = {};  ///< the kernel's extended ack, may be empty
};
/// Pure; of a message too short for its kind: EBADMSG.
Verdict read_verdict(nlmsghdr& message);
/// What an NLMSG_DONE says: the dump may have failed on its way.
Verdict read_done(nlmsghdr& message);
/// Error of a refused request, with its kind.
Error verdict_error(const Verdict& verdict, std::string_view action);

}  // namespace slicer::net
