#include "lib/netfilter/packet_log.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace slicer::netfilter {
namespace {

// Addresses and ports with all extension headers that parse_logged_packet() follows, as a rule.
constexpr uint32_t kCopiedBytes = 160;
constexpr size_t kReceiveRoom = 8192;
constexpr int kMessagesAtOnce = 64;

/// Sends one configuration message about the group and reads the kernel's answer: 0 or an errno.
int configure(int fd, uint16_t group, const std::function<void(nlmsghdr*)>& put) {
  alignas(nlmsghdr) std::array<char, 256> room{};
  nlmsghdr* message = mnl_nlmsg_put_header(room.data());
  message->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  auto* about = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(nfgenmsg)));
  about->nfgen_family = AF_UNSPEC;
  about->version = NFNETLINK_V0;
  about->res_id = htons(group);
  put(message);
  if (send(fd, message, message->nlmsg_len, 0) < 0) return errno;
  // Packets may come before the answer to a later message; those first ones are lost.
  for (;;) {
    alignas(nlmsghdr) std::array<char, kReceiveRoom> buffer;
    const ssize_t got = recv(fd, buffer.data(), buffer.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    const auto* answer = reinterpret_cast<const nlmsghdr*>(buffer.data());
    int left = static_cast<int>(got);
    for (; mnl_nlmsg_ok(answer, left); answer = mnl_nlmsg_next(answer, &left))
      if (answer->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(answer) >= sizeof(int))
        return -*static_cast<const int*>(mnl_nlmsg_get_payload(answer));
  }
}

int command(int fd, uint16_t group, uint8_t number) {
  return configure(fd, group, [&](nlmsghdr* message) {
    const nfulnl_msg_config_cmd wanted{.command = number};
    mnl_attr_put(message, NFULA_CFG_CMD, sizeof(wanted), &wanted);
  });
}

int bind_group(int fd, uint16_t group) {
  int bound = command(fd, group, NFULNL_CFG_CMD_BIND);
  // A group of another reader is EPERM, as a missing capability is; PF_BIND asks for the capability and does nothing
  // else (net/netfilter/nfnetlink_log.c: nfulnl_recv_config()).
  if (bound == EPERM && command(fd, group, NFULNL_CFG_CMD_PF_BIND) == 0) bound = EBUSY;
  if (bound != 0) return bound;
  return configure(fd, group, [](nlmsghdr* message) {
    const nfulnl_msg_config_mode mode{.copy_range = htonl(kCopiedBytes), .copy_mode = NFULNL_COPY_PACKET, ._pad = 0};
    mnl_attr_put(message, NFULA_CFG_MODE, sizeof(mode), &mode);
    mnl_attr_put_u32(message, NFULA_CFG_QTHRESH, htonl(1));  // each packet at once, not a hundred or a second later
  });
}

}  // namespace

Result<PacketLog> PacketLog::open(uint16_t group) {
  const std::string action = fmt::format("read NFLOG group {}", group);
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (!fd.valid()) return fail_errno(errno, action);
  const int on = 1;
  (void)setsockopt(fd.get(), SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof(on));  // else an overrun is only told
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    return fail_errno(errno, action);
  const int err = bind_group(fd.get(), group);
  if (err == 0) return PacketLog(std::move(fd));
  Error error = errno_error(err, action);
  if (err == EBUSY) {
    error.kind = Kind::kBusy;
    error.hint = "another program reads it: slicer-run, tcpdump -i nflog, ulogd";
  }
  if (err == EINVAL || err == EPROTONOSUPPORT || err == EOPNOTSUPP) {
    error.kind = Kind::kUnsupportedKernel;
    error.hint = "modprobe nfnetlink_log (CONFIG_NETFILTER_NETLINK_LOG)";
  }
  return std::unexpected(std::move(error));
}

void PacketLog::read(const std::function<void(std::span<const uint8_t>)>& take) const {
  for (int i = 0; i < kMessagesAtOnce; ++i) {
    alignas(nlmsghdr) std::array<uint8_t, kReceiveRoom> buffer;
    sockaddr_nl from{};
    socklen_t size = sizeof(from);
    const ssize_t got =
        recvfrom(socket_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size);
    if (got <= 0) return;
    if (from.nl_pid != 0) continue;  // only the kernel has packets
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    int left = static_cast<int>(got);
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
      take({reinterpret_cast<const uint8_t*>(message), message->nlmsg_len});
  }
}

}  // namespace slicer::netfilter
