#include "lib/addr/mac.h"

#include <doctest/doctest.h>

#include "lib/addr/link_local.h"

using slicer::addr::link_local_of;
using slicer::addr::local_mac;
using slicer::addr::parse_mac;

TEST_CASE("parse_mac: six pairs, unicast, not zero") {
  CHECK(parse_mac("02:00:5E:00:53:01").value().text() == "02:00:5e:00:53:01");
  for (const char* bad : {"", "02:00:5e:00:53", "02:00:5e:00:53:01:02", "02-00-5e-00-53-01", "02:00:5e:00:53:0g",
                          "01:00:5e:00:53:01", "00:00:00:00:00:00", "+2:00:5e:00:53:01"}) {
    CAPTURE(bad);
    CHECK(!parse_mac(bad));
  }
}

TEST_CASE("local_mac: locally administered unicast whatever the value") {
  for (const uint64_t value : {uint64_t{0}, ~uint64_t{0}, uint64_t{0x123456789abcdef}}) {
    const auto mac = local_mac(value);
    CHECK((mac.bytes[0] & 3U) == 2);
  }
}

TEST_CASE("link_local_of: EUI-64") {
  CHECK(link_local_of(parse_mac("02:00:5e:00:53:01").value()).text() == "fe80::5eff:fe00:5301");
  CHECK(link_local_of(parse_mac("34:56:78:9a:bc:de").value()).text() == "fe80::3656:78ff:fe9a:bcde");  // RFC 4291
  CHECK(link_local_of(parse_mac("00:11:22:33:44:55").value()).text() == "fe80::211:22ff:fe33:4455");
}
