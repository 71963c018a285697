#include "runner/lease/address_book.h"

#include <doctest/doctest.h>

#include "tests/unit/runner/lease/messages.h"

namespace slicer::runner {
namespace {

using namespace test;
using namespace std::chrono_literals;

struct Talk {
  AddressBook book{addr::parse_mac(kGuestMac).value()};
  LeaseClock::time_point now = LeaseClock::time_point(1000s);

  bool guest(const DhcpText& text) { return book.take(dhcp_frame(text, kGuestMac, 67), Direction::kFromGuest, now); }
  bool server(const DhcpText& text) { return book.take(dhcp_frame(text, kOtherMac, 68), Direction::kToGuest, now); }
  bool guest6(uint8_t type, const std::string& source, const std::string& target = {}) {
    return book.take(neighbour_frame(type, kGuestMac, source, target), Direction::kFromGuest, now);
  }
  bool request(uint32_t xid = 0x1234) { return guest({.type = DhcpType::kRequest, .xid = xid}); }
  bool ack(const std::string& address, uint32_t seconds, uint32_t xid = 0x1234) {
    return server({.xid = xid,
                   .given = address,
                   .options = {{1, ip_bytes("255.255.255.0")}, {3, ip_bytes("192.0.2.1")}, {51, word_bytes(seconds)}}});
  }
  std::string address() { return book.lease() ? book.lease()->address.text() : ""; }
};

}  // namespace

TEST_CASE("address book: an exchange, a renewal, another address, the end") {
  Talk talk;
  CHECK_FALSE(talk.guest({.type = DhcpType::kDiscover}));
  CHECK_FALSE(talk.server({.type = DhcpType::kOffer, .given = "192.0.2.49"}));
  CHECK(talk.address().empty());
  CHECK_FALSE(talk.request());
  talk.now += 1s;
  CHECK(talk.ack("192.0.2.50", 60));
  CHECK(talk.address() == "192.0.2.50/24");
  CHECK(talk.book.lease()->router.value().text() == "192.0.2.1");
  CHECK(talk.book.lease()->end == LeaseClock::time_point(1060s));  // from the request on

  talk.now += 30s;  // with the same number, as udhcpc does
  CHECK_FALSE(talk.request());
  CHECK(talk.ack("192.0.2.50", 60));
  CHECK(talk.book.lease()->end == LeaseClock::time_point(1091s));
  CHECK_FALSE(talk.request(7));
  CHECK(talk.ack("192.0.2.51", 0xffffffff, 7));
  CHECK(talk.address() == "192.0.2.51/24");
  CHECK_FALSE(talk.book.lease()->end);
  CHECK_FALSE(talk.book.expire(LeaseClock::time_point(10000000s)));

  CHECK_FALSE(talk.request(8));
  CHECK(talk.ack("192.0.2.51", 10, 8));
  CHECK_FALSE(talk.book.expire(talk.now + 9s));
  CHECK(talk.book.expire(talk.now + 10s));
  CHECK(talk.address().empty());
  CHECK_FALSE(talk.book.expire(talk.now + 11s));
}

TEST_CASE("address book: a NAK, a release and a decline take the lease away") {
  for (const char* how : {"nak", "release", "decline"}) {
    CAPTURE(how);
    Talk talk;
    CHECK_FALSE(talk.request());
    CHECK(talk.ack("192.0.2.50", 60));
    const std::string word = how;
    if (word == "nak") {
      CHECK_FALSE(talk.request(9));
      CHECK_FALSE(talk.server({.type = DhcpType::kNak, .xid = 8}));
      CHECK(talk.server({.type = DhcpType::kNak, .xid = 9}));
    } else if (word == "release") {
      CHECK_FALSE(talk.guest({.type = DhcpType::kRelease, .current = "192.0.2.51"}));
      CHECK(talk.guest({.type = DhcpType::kRelease, .current = "192.0.2.50"}));
    } else {
      CHECK_FALSE(talk.guest({.type = DhcpType::kDecline, .options = {{50, ip_bytes("192.0.2.51")}}}));
      CHECK(talk.guest({.type = DhcpType::kDecline, .options = {{50, ip_bytes("192.0.2.50")}}}));
    }
    CHECK(talk.address().empty());
  }
}

TEST_CASE("address book: answers that nobody asked for count for nothing") {
  Talk talk;
  CHECK_FALSE(talk.ack("192.0.2.50", 60));  // no question
  CHECK_FALSE(talk.request());
  CHECK_FALSE(talk.ack("192.0.2.50", 60, 0x4321));                      // another transaction
  CHECK_FALSE(talk.server({.mac = kOtherMac, .given = "192.0.2.50"}));  // another client
  // The guest answers itself.
  CHECK_FALSE(talk.guest({.type = DhcpType::kAck, .given = "192.0.2.50"}));
  // A stranger's request does not begin an exchange of the guest's.
  CHECK_FALSE(talk.server({.type = DhcpType::kRequest, .xid = 5}));
  CHECK_FALSE(talk.ack("192.0.2.50", 60, 5));
  CHECK_FALSE(talk.server({.type = DhcpType::kRequest}));  // the guest's own number: the exchange goes on
  // A frame with another sender than the guest's MAC is none of its own.
  CHECK_FALSE(talk.book.take(dhcp_frame({.type = DhcpType::kRequest, .xid = 6}, kOtherMac, 67), Direction::kFromGuest,
                             talk.now));
  CHECK_FALSE(talk.ack("192.0.2.50", 60, 6));
  CHECK(talk.address().empty());
  CHECK(talk.ack("192.0.2.50", 60));
  // The first answer ends the exchange.
  CHECK_FALSE(talk.ack("192.0.2.66", 60));
  CHECK_FALSE(talk.server({.type = DhcpType::kNak}));
  CHECK(talk.address() == "192.0.2.50/24");
}

TEST_CASE("address book: a guest that chose a server is answered by that one alone") {
  using Options = std::vector<std::pair<uint8_t, Bytes>>;
  const Options chosen = {{54, ip_bytes("192.0.2.1")}};
  const Options stranger = {{54, ip_bytes("192.0.2.66")}};
  Talk talk;
  CHECK_FALSE(talk.guest({.type = DhcpType::kRequest, .options = chosen}));
  CHECK_FALSE(talk.server({.given = "192.0.2.99", .options = stranger}));
  CHECK_FALSE(talk.server({.given = "192.0.2.99"}));  // who names no server is none (RFC 2131, table 3)
  CHECK_FALSE(talk.server({.type = DhcpType::kNak, .options = stranger}));
  CHECK(talk.server({.given = "192.0.2.50", .options = chosen}));
  CHECK(talk.address() == "192.0.2.50/24");
  CHECK_FALSE(talk.guest({.type = DhcpType::kRequest, .xid = 2, .options = chosen}));
  CHECK_FALSE(talk.server({.type = DhcpType::kNak, .xid = 2, .options = stranger}));
  CHECK(talk.address() == "192.0.2.50/24");
  CHECK(talk.server({.type = DhcpType::kNak, .xid = 2, .options = chosen}));
  // After a reboot and when it rebinds, a guest asks all of them.
  CHECK_FALSE(talk.request(3));
  CHECK(talk.server({.xid = 3, .given = "192.0.2.51", .options = stranger}));
}

TEST_CASE("address book: impossible addresses are no lease, a missing mask is the class's") {
  for (const char* address : {"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "0.1.2.3"}) {
    Talk talk;
    CHECK_FALSE(talk.request());
    CHECK_FALSE(talk.ack(address, 60));
  }
  Talk talk;
  CHECK_FALSE(talk.request());
  CHECK(talk.server({.given = "192.0.2.50"}));
  CHECK(talk.address() == "192.0.2.50/24");
  CHECK_FALSE(talk.book.lease()->end);
}

TEST_CASE("address book: IPv6 addresses by what the guest says") {
  Talk talk;
  CHECK(talk.guest6(133, "fe80::5eff:fe00:5301"));
  CHECK(talk.book.link_local().value().text() == "fe80::5eff:fe00:5301");
  CHECK(talk.guest6(135, "::", "2001:db8::7"));                 // duplicate address detection
  CHECK(talk.guest6(135, "2001:db8::8", "2001:db8::1"));        // asks for a neighbour: its own is the source
  CHECK(talk.guest6(136, "fe80::5eff:fe00:5301", "fd00::9"));   // answers for its own
  CHECK_FALSE(talk.guest6(136, "2001:db8::7", "2001:db8::7"));  // again
  CHECK_FALSE(talk.guest6(136, "ff02::1", "::1"));
  const std::vector<addr::Ip> seen = talk.book.addresses();
  REQUIRE(seen.size() == 3);
  CHECK(seen[0].text() == "2001:db8::7");
  CHECK(seen[1].text() == "2001:db8::8");
  CHECK(seen[2].text() == "fd00::9");
  // What a stranger sends says nothing of the guest.
  CHECK_FALSE(
      talk.book.take(neighbour_frame(136, kOtherMac, "2001:db8::3", "2001:db8::3"), Direction::kToGuest, talk.now));
  CHECK_FALSE(
      talk.book.take(neighbour_frame(136, kOtherMac, "2001:db8::3", "2001:db8::3"), Direction::kFromGuest, talk.now));
  CHECK(talk.book.addresses().size() == 3);
}

TEST_CASE("address book: an address that another answers for while the guest probes it is not the guest's") {
  Talk talk;
  const Bytes answer = neighbour_frame(136, kOtherMac, "2001:db8::7", "2001:db8::7");
  CHECK(talk.guest6(135, "::", "2001:db8::7"));
  talk.now += 1s;
  CHECK(talk.book.take(answer, Direction::kToGuest, talk.now));
  CHECK(talk.book.addresses().empty());
  CHECK(talk.guest6(135, "::", "2001:db8::7"));
  talk.now += 4s;
  CHECK_FALSE(talk.book.take(answer, Direction::kToGuest, talk.now));  // too late: the guest uses it
}

TEST_CASE("address book: a guest with ever new addresses fills nothing") {
  Talk talk;
  for (unsigned i = 1; i <= 100; ++i) {
    talk.now += 1s;
    CHECK(talk.guest6(136, "fe80::1", "2001:db8::" + std::to_string(i)) == true);
    (void)talk.guest6(136, "fe80::1", "2001:db8::1");
  }
  CHECK(talk.book.addresses().size() == AddressBook::kMaxAddresses);
  CHECK(talk.book.addresses()[0].text() == "2001:db8::1");  // still in use
}

}  // namespace slicer::runner
