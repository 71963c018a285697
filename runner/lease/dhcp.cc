#include "runner/lease/dhcp.h"

#include <algorithm>
#include <array>
#include <bit>

namespace slicer::runner {
namespace {

using addr::Ip;
using Bytes = std::span<const uint8_t>;

// RFC 2131, figure 1: where the fields stand.
constexpr size_t kXid = 4;
constexpr size_t kCiaddr = 12;
constexpr size_t kYiaddr = 16;
constexpr size_t kChaddr = 28;
constexpr size_t kServerName = 44;
constexpr size_t kFile = 108;
constexpr size_t kCookie = 236;
constexpr size_t kOptions = 240;
constexpr std::array<uint8_t, 4> kMagic = {99, 130, 83, 99};
constexpr uint8_t kRequestOp = 1;
constexpr uint8_t kReplyOp = 2;
constexpr uint8_t kEthernet = 1;  // htype; hlen is 6

// RFC 2132.
enum Option : uint8_t {
  kPad = 0,
  kMask = 1,
  kRouter = 3,
  kRequestedIp = 50,
  kLeaseTime = 51,
  kOverload = 52,
  kMessageType = 53,
  kServerId = 54,
  kEnd = 255,
};
constexpr uint8_t kFileHasOptions = 1;
constexpr uint8_t kServerNameHasOptions = 2;

uint32_t word(Bytes bytes) {
  uint32_t value = 0;
  for (const uint8_t byte : bytes.first(4)) value = value << 8 | byte;
  return value;
}

Ip ip4(Bytes bytes) { return Ip::from_bytes(bytes.first(4)); }

struct Options {
  uint8_t type = 0;
  uint8_t overload = 0;
  DhcpMessage values = {};
};

// A mask with a hole is none.
std::optional<unsigned> prefix_of(uint32_t mask) {
  const auto ones = static_cast<unsigned>(std::countl_one(mask));
  if (static_cast<unsigned>(std::popcount(mask)) != ones) return std::nullopt;
  return ones;
}

void read_option(uint8_t code, Bytes value, Options& options) {
  if (code == kMessageType && value.size() == 1) options.type = value[0];
  if (code == kOverload && value.size() == 1) options.overload = value[0];
  if (code == kMask && value.size() == 4) options.values.prefix = prefix_of(word(value));
  if (code == kRouter && value.size() >= 4 && value.size() % 4 == 0) options.values.router = ip4(value);
  if (code == kRequestedIp && value.size() == 4) options.values.requested = ip4(value);
  if (code == kLeaseTime && value.size() == 4) options.values.lease_seconds = word(value);
  if (code == kServerId && value.size() == 4) options.values.server = ip4(value);
}

// False: an option runs over the end. A field without an end mark ends with its room (busybox's udhcpd fills it).
bool read_options(Bytes field, Options& options) {
  while (!field.empty()) {
    const uint8_t code = field[0];
    if (code == kEnd) return true;
    if (code == kPad) {
      field = field.subspan(1);
      continue;
    }
    if (field.size() < 2 || field.size() - 2 < field[1]) return false;
    read_option(code, field.subspan(2, field[1]), options);
    field = field.subspan(size_t{2} + field[1]);
  }
  return true;
}

// RFC 2131, section 4.1: first the options field, then file, then sname.
bool read_all_options(Bytes payload, Options& options) {
  if (!read_options(payload.subspan(kOptions), options)) return false;
  const uint8_t overload = options.overload;
  if ((overload & kFileHasOptions) != 0 && !read_options(payload.subspan(kFile, kCookie - kFile), options))
    return false;
  return (overload & kServerNameHasOptions) == 0 ||
         read_options(payload.subspan(kServerName, kFile - kServerName), options);
}

}  // namespace

bool DhcpMessage::is_from_client() const {
  return type != DhcpType::kOffer && type != DhcpType::kAck && type != DhcpType::kNak;
}

std::optional<DhcpMessage> parse_dhcp(std::span<const uint8_t> payload) {
  if (payload.size() < kOptions || payload[1] != kEthernet || payload[2] != addr::Mac{}.bytes.size())
    return std::nullopt;
  if (!std::ranges::equal(payload.subspan(kCookie, kMagic.size()), kMagic)) return std::nullopt;
  Options options;
  if (!read_all_options(payload, options)) return std::nullopt;
  if (options.type < static_cast<uint8_t>(DhcpType::kDiscover) ||
      options.type > static_cast<uint8_t>(DhcpType::kInform))
    return std::nullopt;
  DhcpMessage message = options.values;
  message.type = static_cast<DhcpType>(options.type);
  if (payload[0] != (message.is_from_client() ? kRequestOp : kReplyOp)) return std::nullopt;
  message.xid = word(payload.subspan(kXid));
  message.current = ip4(payload.subspan(kCiaddr));
  message.given = ip4(payload.subspan(kYiaddr));
  std::ranges::copy(payload.subspan(kChaddr, message.client.bytes.size()), message.client.bytes.begin());
  return message;
}

}  // namespace slicer::runner
