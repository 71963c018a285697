#include "lib/addr/link_local.h"

namespace slicer::addr {

Ip link_local_of(const Mac& mac) {
  const auto& m = mac.bytes;
  return Ip::from_bytes(std::array<uint8_t, 16>{0xfe, 0x80, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(m[0] ^ 2U), m[1],
                                                m[2], 0xff, 0xfe, m[3], m[4], m[5]});
}

}  // namespace slicer::addr
