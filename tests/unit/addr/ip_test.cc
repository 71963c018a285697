#include "lib/addr/ip.h"

#include <doctest/doctest.h>

using slicer::addr::parse_cidr;
using slicer::addr::parse_cidr_or_ip;
using slicer::addr::parse_ip;
using slicer::addr::parse_range;

TEST_CASE("parse_ip: canonical text comes back, loose forms are refused") {
  CHECK(parse_ip("192.0.2.7").value().text() == "192.0.2.7");
  CHECK(parse_ip("2001:DB8:0:0::7").value().text() == "2001:db8::7");
  for (const char* bad : {"", "192.0.2", "192.0.2.256", "192.0.02.1", " 192.0.2.1", "192.0.2.1 ", "0x7f.1",
                          "fe80::1%eth0", "2001:db8:::1", "localhost"}) {
    CAPTURE(bad);
    CHECK(!parse_ip(bad));
  }
  CHECK(!parse_ip(std::string_view("192.0.2.1\0junk", 14)));
}

TEST_CASE("Cidr: first, last, membership, host bits") {
  const auto net = parse_cidr("192.0.2.130/25").value();
  CHECK(net.first().text() == "192.0.2.128");
  CHECK(net.last().text() == "192.0.2.255");
  CHECK(net.network().text() == "192.0.2.128/25");
  CHECK(net.contains(parse_ip("192.0.2.200").value()));
  CHECK(!net.contains(parse_ip("192.0.2.127").value()));
  CHECK(!net.contains(parse_ip("2001:db8::1").value()));
  CHECK(parse_cidr("2001:db8::/32").value().last().text() == "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
  CHECK(parse_cidr("0.0.0.0/0").value().last().text() == "255.255.255.255");
  CHECK(parse_cidr("::/0").value().last().text() == "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

TEST_CASE("parse_cidr: prefix length is required and within the family's width") {
  for (const char* bad :
       {"192.0.2.0", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/08", "2001:db8::/129", "/24"}) {
    CAPTURE(bad);
    CHECK(!parse_cidr(bad));
  }
  CHECK(parse_cidr_or_ip("192.0.2.7").value().prefix == 32);
  CHECK(parse_cidr_or_ip("2001:db8::7").value().prefix == 128);
}

TEST_CASE("parse_range: upwards, in one family") {
  const auto range = parse_range("192.0.2.20-192.0.2.80").value();
  CHECK(range.size() == 61);
  CHECK(range.contains(parse_ip("192.0.2.80").value()));
  CHECK(!range.contains(parse_ip("192.0.2.81").value()));
  for (const char* bad : {"192.0.2.9-192.0.2.8", "192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.1-", "a-b"}) {
    CAPTURE(bad);
    CHECK(!parse_range(bad));
  }
}

TEST_CASE("Ip: bytes round trip and order") {
  const auto v6 = parse_ip("2001:db8::7").value();
  CHECK(slicer::addr::Ip::from_bytes(v6.bytes()) == v6);
  CHECK(parse_ip("192.0.2.255").value().plus(1) == parse_ip("192.0.3.0").value());
  CHECK(parse_ip("255.255.255.255").value() < v6);
}
