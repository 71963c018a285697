#include "ipam/resolv_conf.h"

#include <doctest/doctest.h>

using namespace slicer;

TEST_CASE("resolv.conf: every keyword, comments, blanks, a last line without end") {
  const cni::Dns dns = ipam::parse_resolv_conf(
      "# a comment\n; another\n\nnameserver 192.0.2.53\n  nameserver\t2001:db8::53  \ndomain example.test\n"
      "search a.test b.test\nsearch c.test\noptions ndots:2 rotate\nnameserver\nsortlist 192.0.2.0\nnameserver "
      "192.0.2.54");
  CHECK(dns.nameservers == std::vector<std::string>{"192.0.2.53", "2001:db8::53", "192.0.2.54"});
  CHECK(dns.domain == "example.test");
  CHECK(dns.search == std::vector<std::string>{"a.test", "b.test", "c.test"});
  CHECK(dns.options == std::vector<std::string>{"ndots:2", "rotate"});
}

TEST_CASE("resolv.conf: nothing in it is no DNS") { CHECK(ipam::parse_resolv_conf("").empty()); }
