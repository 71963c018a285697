#include "tests/system/hypervisors/guest_stub.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace slicer::test {
namespace {

// Offsets behind the header: Ethernet 0, ARP or IPv4 14, ICMP 34 (no options).
constexpr size_t kEthernet = 14;
constexpr size_t kArpBytes = kEthernet + 28;

uint16_t checksum(const unsigned char* data, size_t bytes) {
  uint32_t sum = 0;
  for (size_t i = 0; i < bytes; ++i) sum += static_cast<uint32_t>(data[i]) << (i % 2 == 0 ? 8U : 0U);
  while (sum >> 16U != 0) sum = (sum & 0xffffU) + (sum >> 16U);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

GuestStub::GuestStub(int fd, const std::string& mac, std::string_view cmdline) : fd_(fd) {
  for (size_t i = 0; i < mac_.size() && 3 * i + 2 <= mac.size(); ++i)
    (void)std::from_chars(&mac[3 * i], &mac[3 * i] + 2, mac_[i], 16);
  const size_t at = cmdline.find("ip=");
  if (at == std::string_view::npos) return;
  const std::string text(cmdline.substr(at + 3, cmdline.find(':', at) - at - 3));
  (void)inet_pton(AF_INET, text.c_str(), address_.data());
}

void GuestStub::send(const Frame& frame, size_t bytes) const {
  std::array<unsigned char, kHeader + 2048> whole = {};
  std::copy_n(frame.begin(), bytes, whole.begin() + kHeader);
  (void)!write(fd_, whole.data(), kHeader + bytes);
}

void GuestStub::announce() {
  Frame frame = {};
  std::fill_n(frame.begin(), 6, 0xff);
  std::copy(mac_.begin(), mac_.end(), frame.begin() + 6);
  constexpr std::array<unsigned char, 10> kRequest = {0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1};
  std::copy(kRequest.begin(), kRequest.end(), frame.begin() + 12);
  std::copy(mac_.begin(), mac_.end(), frame.begin() + 22);
  std::copy(address_.begin(), address_.end(), frame.begin() + 28);
  std::copy(address_.begin(), address_.end(), frame.begin() + 38);
  send(frame, kArpBytes);
}

void GuestStub::on_frame() {
  std::array<unsigned char, kHeader + 2048> whole = {};
  const ssize_t count = read(fd_, whole.data(), whole.size());
  if (count < static_cast<ssize_t>(kHeader + kArpBytes)) return;
  const size_t bytes = static_cast<size_t>(count) - kHeader;
  Frame frame = {};
  std::copy_n(whole.begin() + kHeader, bytes, frame.begin());
  const bool arp = frame[12] == 8 && frame[13] == 6 && frame[21] == 1 &&
                   std::equal(address_.begin(), address_.end(), frame.begin() + 38);
  const bool ping = frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 && frame[23] == 1 && frame[34] == 8 &&
                    std::equal(address_.begin(), address_.end(), frame.begin() + 30);
  if (!arp && !ping) return;
  std::copy_n(frame.begin() + 6, 6, frame.begin());
  std::copy(mac_.begin(), mac_.end(), frame.begin() + 6);
  if (arp) {
    frame[21] = 2;
    std::copy_n(frame.begin() + 22, 10, frame.begin() + 32);
    std::copy(mac_.begin(), mac_.end(), frame.begin() + 22);
    std::copy(address_.begin(), address_.end(), frame.begin() + 28);
    return send(frame, kArpBytes);
  }
  std::swap_ranges(frame.begin() + 26, frame.begin() + 30, frame.begin() + 30);
  frame[34] = 0;
  frame[36] = frame[37] = 0;
  const size_t length = static_cast<size_t>(frame[16]) << 8U | frame[17];
  if (length < 28 || kEthernet + length > bytes) return;
  const uint16_t sum = checksum(&frame[34], length - 20);
  frame[36] = static_cast<unsigned char>(sum >> 8U);
  frame[37] = static_cast<unsigned char>(sum & 0xffU);
  send(frame, kEthernet + length);
}

}  // namespace slicer::test
