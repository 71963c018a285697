// A message of nfnetlink_log: the packet in it is a guest's own making. And what one supervisor tells another of its
// VM.

#include "lib/netfilter/logged_packet.h"
#include "runner/supervisor/packet_sink.h"
#include "tests/fuzz/expect.h"

namespace runner = slicer::runner;

namespace {

void check_packet(slicer::netfilter::LoggedPacket packet) {
  EXPECT(packet.source.has_value() == packet.destination.has_value());
  EXPECT(!packet.ports || (packet.source && !packet.fragment));
  packet.prefix = "slicer:demo ";  // a rule's, so no guest's
  const std::string line = runner::packet_line(packet, {}, 0);
  EXPECT(line.find('\n') == std::string::npos && line.find('\x1b') == std::string::npos);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (const auto packet = slicer::netfilter::parse_logged_packet({data, size})) check_packet(*packet);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto ends = runner::parse_ends(text)) EXPECT(runner::parse_ends(runner::ends_text(*ends)).value() == *ends);
  return 0;
}
