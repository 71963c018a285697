#include "lib/net/frame_watch.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "lib/net/bpf_assembler.h"

namespace slicer::net {
namespace {

constexpr uint32_t kWhole = 0xffff;
constexpr uint32_t kNothing = 0;
constexpr uint32_t kType = 12;
constexpr uint32_t kIp = 14;  // behind the Ethernet header
constexpr uint32_t kUdp = 17;
constexpr uint32_t kIcmp6 = 58;

void add_dhcp(BpfAssembler& program, BpfAssembler::Label take, BpfAssembler::Label pass) {
  program.load_byte(kIp + 9);  // protocol
  program.jump_unless_equal(kUdp, pass);
  program.load_half(kIp + 6);  // fragment offset
  program.jump_if_any_bit(0x1fff, pass);
  program.load_ip_header_length_x(kIp);
  program.load_half_at_x(kIp + 2);  // destination port
  program.jump_if_equal(67, take);
  program.jump_if_equal(68, take);
  program.jump(pass);
}

void add_neighbour(BpfAssembler& program, BpfAssembler::Label take, BpfAssembler::Label pass) {
  program.load_byte(kIp + 6);  // next header
  program.jump_unless_equal(kIcmp6, pass);
  program.load_byte(kIp + 40);  // ICMPv6 type
  program.jump_if_equal(133, take);
  program.jump_if_equal(135, take);
  program.jump_if_equal(136, take);
  program.jump(pass);
}

std::vector<sock_filter> program_text() {
  BpfAssembler program;
  const auto take = program.make_label();
  const auto pass = program.make_label();
  const auto ip6 = program.make_label();
  program.load_half(kType);
  program.jump_if_equal(ETH_P_IPV6, ip6);
  program.jump_unless_equal(ETH_P_IP, pass);
  add_dhcp(program, take, pass);
  program.place(ip6);
  add_neighbour(program, take, pass);
  program.place(take);
  program.give(kWhole);
  program.place(pass);
  program.give(kNothing);
  std::vector<sock_filter> filter;
  for (const BpfInstruction& each : program.finish())
    filter.push_back({.code = each.code, .jt = each.jump_true, .jf = each.jump_false, .k = each.k});
  return filter;
}

// Made without a protocol, so that nothing of any link arrives before the filter and the link are set.
Result<UniqueFd> open_socket(const Netns& ns) {
  const ScopedNetns inside = TRY(ScopedNetns::enter(ns));
  UniqueFd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.valid()) return fd;
  Error error = errno_error(errno, "make a packet socket");
  if (error.sys_errno == EAFNOSUPPORT) error.kind = Kind::kUnsupportedKernel;
  return std::unexpected(std::move(error));
}

}  // namespace

Result<UniqueFd> watch_address_frames(const Netns& ns, int link) {
  UniqueFd fd = TRY(open_socket(ns));
  const std::string action = "watch link " + std::to_string(link);
  std::vector<sock_filter> filter = program_text();
  const sock_fprog program{.len = static_cast<unsigned short>(filter.size()), .filter = filter.data()};
  if (setsockopt(fd.get(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    return fail_errno(errno, action + ": set the filter");
  sockaddr_ll address = {};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = link;
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail_errno(errno, action);
  return fd;
}

Result<std::optional<WatchedFrame>> read_frame(int socket, std::span<uint8_t> buffer) {
  sockaddr_ll from = {};
  socklen_t size = sizeof from;
  const ssize_t count = recvfrom(socket, buffer.data(), buffer.size(), 0, reinterpret_cast<sockaddr*>(&from), &size);
  if (count >= 0)
    return WatchedFrame{.length = static_cast<size_t>(count), .outgoing = from.sll_pkttype == PACKET_OUTGOING};
  if (errno == ENETDOWN) return WatchedFrame{.down = true};
  if (errno == EAGAIN || errno == EINTR) return std::nullopt;
  return fail_errno(errno, "read a watched frame");
}

}  // namespace slicer::net
