#include "plugins/isolated/range.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

using namespace slicer;
using addr::Cidr;
using isolated::default_ranges;
using isolated::parse_block_range;

TEST_CASE("isolated range: a name's range is the same in every release") {
  const std::map<std::string, std::string> pinned{{"sandbox", "169.254.248.0/22"},
                                                  {"agents", "169.254.48.0/22"},
                                                  {"review", "169.254.244.0/22"},
                                                  {"slicer-isolated", "169.254.24.0/22"},
                                                  {"a", "169.254.184.0/22"},
                                                  {"b", "169.254.84.0/22"},
                                                  {std::string(200, 'n'), "169.254.204.0/22"}};
  for (const auto& [name, range] : pinned) {
    CAPTURE(name);
    CHECK(default_ranges(name).front().text() == range);
  }
}

TEST_CASE("isolated range: all of 169.254.0.0/16 but what is reserved, each once, beginning with the name's own") {
  for (const char* name : {"sandbox", "agents", "x"}) {
    const std::vector<Cidr> ranges = default_ranges(name);
    CHECK(ranges.size() == 61);
    std::set<std::string> seen;
    for (const Cidr& range : ranges) {
      CHECK(seen.insert(range.text()).second);
      CHECK(range.prefix == 22);
      CHECK(range == range.network());
      for (const char* never : {"169.254.0.0", "169.254.0.255", "169.254.1.1", "169.254.169.254", "169.254.255.0"})
        CHECK_FALSE(range.contains(*addr::parse_ip(never)));
    }
  }
}

TEST_CASE("isolated range: the next one follows, and behind the last comes the first") {
  const std::vector<Cidr> ranges = default_ranges("sandbox");
  int wraps = 0;
  for (size_t i = 0; i + 1 < ranges.size(); ++i)
    if (ranges[i + 1].ip < ranges[i].ip) ++wraps;
  CHECK(wraps <= 1);
}

TEST_CASE("isolated range: what may be given") {
  for (const char* good : {"169.254.100.0/22", "169.254.100.0/23", "10.0.0.0/8", "192.0.2.4/30", "100.64.0.0/10"}) {
    CAPTURE(good);
    CHECK(parse_block_range(good).has_value());
  }
  const std::map<std::string, std::string> bad{{"169.254.100.1/22", "host bits"},
                                               {"169.254.100.0", "CIDR"},
                                               {"", "CIDR"},
                                               {"sandbox", "CIDR"},
                                               {"2001:db8::/64", "IPv6"},
                                               {"192.0.2.0/31", "/30"},
                                               {"127.0.0.0/24", "no VM"},
                                               {"224.0.0.0/24", "no VM"},
                                               {"0.0.0.0/0", "no VM"},
                                               {"240.0.0.0/8", "no VM"}};
  for (const auto& [text, why] : bad) {
    CAPTURE(text);
    const Result<Cidr> range = parse_block_range(text);
    REQUIRE_FALSE(range.has_value());
    CHECK(range.error().kind == Kind::kInvalidConfig);
    CHECK(range.error().message.find(why) != std::string::npos);
  }
}
