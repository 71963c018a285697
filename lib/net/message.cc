#include "lib/net/message.h"

#include <fmt/format.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <new>

namespace slicer::net {

Message::Message(uint16_t type, int flags, size_t room) : msg_(nlmsg_alloc_size(room + NLMSG_HDRLEN)) {
  if (!msg_) throw std::bad_alloc();  // as every other allocation of the program does
  if (nlmsg_put(msg_.get(), NL_AUTO_PORT, NL_AUTO_SEQ, type, 0, flags | NLM_F_REQUEST) == nullptr) failed_ = true;
}

Message& Message::bytes(int attribute, std::span<const uint8_t> value) {
  failed_ |= nla_put(msg_.get(), attribute, static_cast<int>(value.size()), value.data()) != 0;
  return *this;
}

Message& Message::text(int attribute, const std::string& value) {
  failed_ |= nla_put_string(msg_.get(), attribute, value.c_str()) != 0;
  return *this;
}

Message& Message::chars(int attribute, std::string_view value) {
  failed_ |= nla_put(msg_.get(), attribute, static_cast<int>(value.size()), value.data()) != 0;
  return *this;
}

Message& Message::ip(int attribute, const addr::Ip& value) {
  const auto raw = value.bytes();
  return bytes(attribute, std::span(raw).first(value.size()));
}

std::string attribute_text(std::span<const uint8_t> bytes) {
  return {bytes.begin(), std::find(bytes.begin(), bytes.end(), uint8_t{0})};
}

std::optional<addr::Mac> attribute_mac(std::span<const uint8_t> bytes) {
  addr::Mac mac;
  if (bytes.size() != mac.bytes.size()) return std::nullopt;
  std::copy(bytes.begin(), bytes.end(), mac.bytes.begin());
  return mac;
}

std::optional<addr::Ip> attribute_ip(std::span<const uint8_t> bytes) {
  if (bytes.size() != 4 && bytes.size() != 16) return std::nullopt;
  return addr::Ip::from_bytes(bytes);
}

Verdict read_verdict(nlmsghdr& message) {
  if (nlmsg_datalen(&message) < static_cast<int>(sizeof(nlmsgerr))) return {.err = EBADMSG};
  const auto* body = static_cast<const nlmsgerr*>(nlmsg_data(&message));
  Verdict verdict{.err = -body->error};
  if ((message.nlmsg_flags & NLM_F_ACK_TLVS) == 0) return verdict;
  // The request comes back behind the error number: its header alone when it is capped.
  size_t skip = sizeof(nlmsgerr);
  if ((message.nlmsg_flags & NLM_F_CAPPED) == 0 && body->msg.nlmsg_len > NLMSG_HDRLEN)
    skip += NLMSG_ALIGN(body->msg.nlmsg_len - NLMSG_HDRLEN);
  if (skip > static_cast<size_t>(nlmsg_datalen(&message))) return verdict;
  verdict.text = Attributes<NLMSGERR_ATTR_MAX>(message, skip).text(NLMSGERR_ATTR_MSG);
  return verdict;
}

Verdict read_done(nlmsghdr& message) {
  int error = 0;
  if (nlmsg_datalen(&message) >= static_cast<int>(sizeof error))
    std::memcpy(&error, nlmsg_data(&message), sizeof error);
  return {.err = error < 0 ? -error : 0};
}

namespace {

Kind kind_of(int err) {
  switch (err) {
    case ENODEV:
    case ENOENT:
    case ESRCH:
    case ENXIO:
      return Kind::kNotFound;
    case EEXIST:
      return Kind::kExists;
    case EOPNOTSUPP:
    case EAFNOSUPPORT:
      return Kind::kUnsupportedKernel;
    case EXFULL:
      return Kind::kExhausted;  // br_add_if(): no port number is left
    default:
      return Kind::kSystem;
  }
}

const char* hint_of(int err) {
  switch (err) {
    case EPERM:
      return "run it as root: it needs CAP_NET_ADMIN";
    case EXFULL:
      return "a Linux bridge takes 1023 ports: use a second network, or remove machines that are gone";
    default:
      return "";
  }
}

}  // namespace

Error verdict_error(const Verdict& verdict, std::string_view action) {
  Error error = errno_error(verdict.err, action);
  error.kind = kind_of(verdict.err);
  error.hint = hint_of(verdict.err);
  std::string cause = verdict.text;
  while (!cause.empty() && (cause.back() == '.' || cause.back() == '\n')) cause.pop_back();
  if (cause.empty()) return error;
  cause[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(cause[0])));
  error.message = fmt::format("{}: {}: {}", action, cause, errno_text(verdict.err));
  return error;
}

}  // namespace slicer::net
