// Allocation files, boot records and resolv.conf: read as they lie on a disk that a crash or a stranger wrote on.

#include "ipam/allocation_file.h"
#include "ipam/resolv_conf.h"
#include "tests/fuzz/expect.h"

namespace ipam = slicer::ipam;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto holder = ipam::parse_allocation(text)) {
    EXPECT(!holder->text.empty());
    EXPECT(holder->text.find('\0') == std::string::npos);
    EXPECT(ipam::parse_allocation(holder->text) == holder);  // trimmed is trimmed
    EXPECT(holder->container_id().has_value() == holder->ifname().has_value());
  }
  if (const auto record = ipam::parse_boot_record(text)) {
    EXPECT(record->text() == text);
    EXPECT(!record->boot_id.empty());
  }
  (void)ipam::parse_resolv_conf(text);
  return 0;
}
