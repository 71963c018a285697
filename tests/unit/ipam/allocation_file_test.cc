#include "ipam/allocation_file.h"

#include <doctest/doctest.h>

using namespace slicer::ipam;

TEST_CASE("allocation file: both lines, as host-local writes them") {
  const auto holder = parse_allocation("vm-1\r\neth0");
  REQUIRE(holder);
  CHECK(holder->container_id() == "vm-1");
  CHECK(holder->ifname() == "eth0");
  CHECK(*holder == Holder::of("vm-1", "eth0"));
  CHECK(holder->text == "vm-1\r\neth0");
}

TEST_CASE("allocation file: surrounding white space is trimmed, as host-local does before it compares") {
  CHECK(parse_allocation(" vm-1\r\neth0\n\n") == Holder::of("vm-1", "eth0"));
}

TEST_CASE("allocation file: an old one with the ID alone, and a note of an administrator, are holders") {
  CHECK(parse_allocation("vm-1") == Holder{"vm-1"});
  CHECK_FALSE(parse_allocation("vm-1")->container_id());
  CHECK(parse_allocation("kept for the printer\n") == Holder{"kept for the printer"});
}

TEST_CASE("allocation file: what a crash leaves is no holder") {
  CHECK_FALSE(parse_allocation(""));
  CHECK_FALSE(parse_allocation(" \r\n\r\n"));
  CHECK_FALSE(parse_allocation(std::string(20, '\0')));
  CHECK_FALSE(parse_allocation(std::string("vm-1\0\0\r\neth0", 12)));
  CHECK_FALSE(parse_allocation("vm-1\r\neth0\r\nmore"));
  CHECK_FALSE(parse_allocation("a\nb"));
  CHECK_FALSE(parse_allocation(std::string(kMaxAllocationFile + 1, 'a')));
}

TEST_CASE("boot record: what is written is read") {
  const BootRecord record{.container_id = "vm-1", .ifname = "eth0", .network = "net", .boot_id = "b"};
  CHECK(parse_boot_record(record.text()) == record);
}

TEST_CASE("boot record: every shorter version of one is refused") {
  const std::string text = BootRecord{.container_id = "i", .ifname = "e", .network = "n", .boot_id = "b"}.text();
  for (size_t size = 0; size < text.size(); ++size) CHECK_FALSE(parse_boot_record(text.substr(0, size)));
  CHECK_FALSE(parse_boot_record(text + "x"));
  CHECK_FALSE(parse_boot_record("i\n\nn\nb\nend\n"));
  CHECK_FALSE(parse_boot_record(std::string(text.size(), '\0')));
}
