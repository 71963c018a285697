// What a guest and its LAN send: DHCP and neighbour discovery. The first byte of the input says which way each frame
// goes and the next two how long it is, so that one input is a whole conversation.

#include "lib/addr/mac.h"
#include "runner/lease/address_book.h"
#include "tests/fuzz/expect.h"

namespace runner = slicer::runner;

namespace {

constexpr slicer::addr::Mac kGuest{.bytes = {2, 0, 0x5e, 0, 0x53, 1}};

void check(const runner::AddressBook& book) {
  EXPECT(book.addresses().size() <= runner::AddressBook::kMaxAddresses);
  for (const slicer::addr::Ip& ip : book.addresses()) EXPECT(!ip.is_v4());
  if (!book.lease()) return;
  EXPECT(book.lease()->address.ip.is_v4() && book.lease()->address.prefix <= 32);
  EXPECT(book.lease()->address.ip.value() != 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> rest(data, size);
  runner::AddressBook book(kGuest);
  runner::LeaseClock::time_point now{};
  while (rest.size() >= 3) {
    const auto direction = (rest[0] & 1U) != 0 ? runner::Direction::kFromGuest : runner::Direction::kToGuest;
    const size_t length = std::min<size_t>(size_t{256} * rest[1] + rest[2], rest.size() - 3);
    now += std::chrono::seconds(rest[0] >> 1U);
    (void)book.expire(now);
    (void)book.take(rest.subspan(3, length), direction, now);
    check(book);
    rest = rest.subspan(3 + length);
  }
  return 0;
}
