// runner/supervisor/packet_sink: whose a packet is, its line, and how many lines there are.

#include "runner/supervisor/packet_sink.h"

#include <doctest/doctest.h>

#include "lib/base/whole_file.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer;
using namespace slicer::runner;
using slicer::netfilter::LoggedPacket;
using slicer::test::TempFolder;

namespace {

addr::Ip ip(const char* text) { return addr::parse_ip(text).value(); }

PacketEnds demo() {
  return PacketEnds::of({.mac = "02:00:5e:00:53:01", .addresses = {"192.0.2.2/24", "2001:db8::2/64"}});
}

LoggedPacket from_vm() {
  return {.prefix = "slicer:demo ",
          .ethertype = 0x0800,
          .source = ip("192.0.2.2"),
          .destination = ip("198.51.100.7"),
          .protocol = 6,
          .ports = {{4711, 22}}};
}

}  // namespace

TEST_CASE("packet_line: time, direction, protocol, addresses, ports, reason") {
  CHECK(packet_line(from_vm(), demo(), 1795328400) ==
        "2026-11-22T06:20:00Z dropped: from the VM, tcp 192.0.2.2:4711 -> 198.51.100.7:22, by the lists of network "
        "'demo'");
  LoggedPacket to_vm = from_vm();
  std::swap(*to_vm.source, *to_vm.destination);
  CHECK(packet_line(to_vm, demo(), 0).starts_with("1970-01-01T00:00:00Z dropped: to the VM, tcp 198.51.100.7:4711"));
}

TEST_CASE("PacketEnds: by MAC or by address, also of a VM whose address nobody knows") {
  LoggedPacket packet = from_vm();
  CHECK(demo().sent(packet));
  packet.source = ip("192.0.2.3");
  CHECK_FALSE(demo().sent(packet));
  packet.source_mac = demo().mac;
  CHECK(demo().sent(packet));
  packet.destination = ip("2001:db8::2");
  CHECK(demo().gets(packet));
  CHECK(parse_ends(ends_text(demo())).value() == demo());
  CHECK_FALSE(parse_ends("").has_value());
  CHECK_FALSE(parse_ends("02:00:5e:00:53:01 ").has_value());
  CHECK_FALSE(parse_ends("02:00:5e:00:53:01 nonsense").has_value());
}

TEST_CASE("RateLimit: twenty at once, ten a second after") {
  RateLimit limit;
  auto now = RateLimit::Clock::time_point(std::chrono::hours(1));
  int passed = 0;
  for (int i = 0; i < 100; ++i) passed += limit.take(now) ? 1 : 0;
  CHECK(passed == 20);
  for (int i = 0; i < 1000; ++i) passed += limit.take(now += std::chrono::milliseconds(10)) ? 1 : 0;
  CHECK(passed >= 119);
  CHECK(passed <= 121);
}

TEST_CASE("PacketSink: lines are appended, what came too fast is counted") {
  const TempFolder folder;
  PacketSink sink(folder.file("packets.log"), demo());
  for (int i = 0; i < 1000; ++i) sink.take(from_vm());
  const std::string text = read_file(folder.file("packets.log")).value();
  const auto lines = static_cast<size_t>(std::ranges::count(text, '\n'));
  CHECK(lines >= 20);
  CHECK(lines < 500);
}
