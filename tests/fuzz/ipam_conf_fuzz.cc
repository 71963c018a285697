// The "ipam" section: whatever is in it, either an error that names a key, or pools that hold what they promise.

#include "ipam/config.h"
#include "lib/cni/error.h"
#include "tests/fuzz/expect.h"

using slicer::ipam::Config;
using slicer::ipam::Pool;
using slicer::ipam::Segment;

namespace {

void check_segment(const Pool& pool, const Segment& segment) {
  EXPECT(segment.range.first <= segment.range.last);
  EXPECT(segment.range.family() == pool.family());
  EXPECT(segment.prefix <= slicer::addr::bits_of(pool.family()));
  EXPECT(pool.segment_of(segment.range.first) == &segment);
  EXPECT(segment.contains(segment.range.first));
  EXPECT((segment.range.last.value() - segment.range.first.value()) % segment.stride == 0);
  EXPECT(!pool.search_order(segment.range.first).empty());
  EXPECT(!pool.search_order(segment.range.last).empty());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto conf = slicer::cni::parse_net_conf(text);
  if (!conf) return 0;
  slicer::cni::Environment env;
  env.args["IP"] = conf->type;  // any text
  for (const slicer::cni::Environment& each : {slicer::cni::Environment{}, env}) {
    const slicer::Result<Config> config = slicer::ipam::parse_config(*conf, each);
    if (!config) {
      const int code = slicer::cni::error_code(config.error());
      EXPECT(code == 7 || code == 4);
      continue;
    }
    EXPECT(!config->pools.empty());
    for (const Pool& pool : config->pools) {
      EXPECT(!pool.text().empty());
      for (const Segment& segment : pool.segments()) check_segment(pool, segment);
    }
  }
  (void)slicer::ipam::parse_store_config(*conf);
  return 0;
}
