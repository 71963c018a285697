#pragma once
// A guest of a few lines on an open TAP: answers ARP and ping for the address that the kernel's command line gives it.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace slicer::test {

class GuestStub {
 public:
  /// `fd` has a virtio-net header of 12 bytes before each frame. `mac`: "02:00:…". `cmdline`: "… ip=A::GW:MASK:… …".
  GuestStub(int fd, const std::string& mac, std::string_view cmdline);
  /// Says its address once to all (RFC 5227, an announcement).
  void announce();
  /// Takes one frame and answers it, if it is for this guest.
  void on_frame();

 private:
  static constexpr size_t kHeader = 12;
  using Frame = std::array<unsigned char, 2048>;
  void send(const Frame& frame, size_t bytes) const;

  int fd_;
  std::array<unsigned char, 6> mac_ = {};
  std::array<unsigned char, 4> address_ = {};
};

}  // namespace slicer::test
