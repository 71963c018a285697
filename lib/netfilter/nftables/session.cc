#include "lib/netfilter/nftables/session.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>

namespace slicer::netfilter {
namespace {

// The kernel fills at most 32 KiB per part of a dump (net/netlink/af_netlink.c: netlink_dump()).
constexpr size_t kReceiveRoom = 65536;
// net.core.wmem_default is 212,992 where nobody lowered it, and a message's bookkeeping counts too.
constexpr size_t kDefaultSendRoom = 65536;
constexpr size_t kMessageOverhead = 65536;

std::unexpected<Error> refused(int err, std::string_view action) {
  Error error = errno_error(err, action);
  if (err == EPERM || err == EACCES) error.hint = "run it as root, with CAP_NET_ADMIN in this network namespace";
  if (err == EPROTONOSUPPORT || err == EINVAL || err == EOPNOTSUPP) {
    error.kind = Kind::kUnsupportedKernel;
    error.hint =
        "the kernel needs nf_tables with the inet family (CONFIG_NF_TABLES, CONFIG_NF_TABLES_INET, CONFIG_NFT_MASQ)";
  }
  return std::unexpected(std::move(error));
}

/// The errno in an NLMSG_ERROR or NLMSG_DONE; 0 is an acknowledgement.
int message_error(const nlmsghdr* message) {
  if (mnl_nlmsg_get_payload_len(message) < sizeof(int)) return 0;
  return -*static_cast<const int*>(mnl_nlmsg_get_payload(message));
}

/// Calls `on_message` for each message of one datagram. False when there is none to be read without waiting.
Result<bool> receive(int fd, int flags, const std::function<void(const nlmsghdr*)>& on_message) {
  alignas(nlmsghdr) char buffer[kReceiveRoom];
  ssize_t got = recv(fd, buffer, sizeof(buffer), flags | MSG_TRUNC);
  while (got < 0 && errno == EINTR) got = recv(fd, buffer, sizeof(buffer), flags | MSG_TRUNC);
  if (got < 0 && errno == EAGAIN) return false;
  if (got < 0) return fail_errno(errno, "read the answer of nf_tables");
  if (static_cast<size_t>(got) > sizeof(buffer)) return fail_errno(EMSGSIZE, "read the answer of nf_tables");
  int left = static_cast<int>(got);
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer); mnl_nlmsg_ok(message, left);
       message = mnl_nlmsg_next(message, &left))
    on_message(message);
  return true;
}

/// In the child: nothing but system calls, as after any fork of a process that may have threads.
[[noreturn]] void hold_alone_and_end(unsigned fd) {
  // The caller's caller waits for the end of our pipes (Go's exec does).
  if (fd > 0) (void)close_range(0, fd - 1, 0);
  (void)close_range(fd + 1, ~0U, 0);
  _exit(0);
}

}  // namespace

char* MessageBuffer::make_room(size_t size) {
  if (bytes_.size() < used_ + size) bytes_.resize(2 * used_ + size);
  return bytes_.data() + used_;
}

nlmsghdr* MessageBuffer::open(uint16_t type, uint16_t family, uint16_t flags, size_t room) {
  return nftnl_nlmsg_build_hdr(make_room(room), type, family, flags, count_);
}

uint32_t MessageBuffer::close() {
  last_ = used_;
  used_ += NLMSG_ALIGN(reinterpret_cast<const nlmsghdr*>(bytes_.data() + used_)->nlmsg_len);
  return count_++;
}

void MessageBuffer::begin_batch(uint32_t generation) {
  mnl_attr_put_u32(nftnl_batch_begin(make_room(kMessageRoom), count_), NFNL_BATCH_GENID, htonl(generation));
  (void)close();
}

void MessageBuffer::end_batch() {
  reinterpret_cast<nlmsghdr*>(bytes_.data() + last_)->nlmsg_flags |= NLM_F_ACK;
  nftnl_batch_end(make_room(kMessageRoom), count_);
  (void)close();
}

Result<NftSession> NftSession::open() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd.valid()) return refused(errno, "open a netfilter socket");
  // The kernel has answered when send() returns; the limit only keeps a wrong expectation from waiting for ever.
  const timeval limit{.tv_sec = 5, .tv_usec = 0};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0)
    return refused(errno, "open a netfilter socket");
  return NftSession(std::move(fd));
}

// A transaction with long lists is larger than what a socket sends by default.
Result<void> NftSession::make_room(size_t size) {
  if (size < kDefaultSendRoom) return {};
  const int room = static_cast<int>(size + kMessageOverhead);
  if (setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room)) != 0)
    return refused(errno, "make room for the lists");
  return {};
}

Result<void> NftSession::send(const MessageBuffer& messages) {
  TRY(make_room(messages.size()));
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto sent = sendto(fd_.get(), messages.bytes().data(), messages.size(), 0,
                           reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel));
  if (sent < 0) return refused(errno, "send to nf_tables");
  return {};
}

Result<Answers> NftSession::ask(const MessageBuffer& question,
                                const std::function<void(uint32_t, const nlmsghdr*)>& on_answer) {
  TRY(send(question));
  Answers answers{.errors = std::vector<int>(question.count(), 0)};
  uint32_t open_questions = question.count();
  int denied = 0;
  const auto read_one = [&](const nlmsghdr* message) {
    if (message->nlmsg_seq >= question.count()) return;
    if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) answers.interrupted = true;
    const bool ends = message->nlmsg_type == NLMSG_ERROR || message->nlmsg_type == NLMSG_DONE;
    if (ends || (message->nlmsg_flags & NLM_F_MULTI) == 0) --open_questions;
    if (!ends) return on_answer(message->nlmsg_seq, message);
    answers.errors[message->nlmsg_seq] = message_error(message);
    if (message_error(message) == EPERM) denied = EPERM;
  };
  // Without permission the kernel answers the first message alone (net/netfilter/nfnetlink.c: nfnetlink_rcv()).
  while (open_questions > 0 && denied == 0) {
    if (!TRY(receive(fd_.get(), 0, read_one))) return fail_errno(ETIMEDOUT, "read the answer of nf_tables");
  }
  if (denied != 0) return refused(denied, "read the ruleset of nf_tables");
  return answers;
}

Result<Commit> NftSession::commit(const MessageBuffer& batch) {
  TRY(send(batch));
  int first_error = 0;
  bool stale = false;
  bool answered = false;
  const auto read_one = [&](const nlmsghdr* message) {
    if (message->nlmsg_type != NLMSG_ERROR) return;
    answered = true;
    const int error = message_error(message);
    if (error == ERESTART) stale = true;
    if (first_error == 0) first_error = error;
  };
  // The kernel has done or refused all of it when send() returns; its last message asked for an acknowledgement.
  while (TRY(receive(fd_.get(), MSG_DONTWAIT, read_one))) continue;
  if (stale) return Commit::kStale;
  if (first_error != 0) return refused(first_error, "change the ruleset of nf_tables");
  if (!answered) return fail(Kind::kInternal, "change the ruleset of nf_tables: no answer from the kernel");
  return Commit::kDone;
}

void NftSession::close_in_child() && {
  // Without a signal at its end, so that it disturbs nobody's wait().
  clone_args args = {};
  const long pid = syscall(SYS_clone3, &args, sizeof(args));
  if (pid == 0) hold_alone_and_end(static_cast<unsigned>(fd_.get()));
  fd_.reset();  // the child's is the last one
}

}  // namespace slicer::netfilter
