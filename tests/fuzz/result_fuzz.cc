// stdout of another plugin: a result, or the error object of a failed one.

#include "lib/cni/error.h"
#include "lib/cni/result_versions.h"
#include "tests/fuzz/expect.h"

namespace cni = slicer::cni;

namespace {

// What one version carries, it carries again.
void check_result(const cni::CniResult& result) {
  for (const std::string_view version : cni::supported_versions()) {
    const cni::CniResult once = cni::parse_result(cni::result_json(result, version).value()).value();
    EXPECT(cni::parse_result(cni::result_json(once, version).value()).value() == once);
    if (version == "1.1.0") EXPECT(once == result);
  }
  for (const cni::Interface& interface : result.interfaces) {
    const auto pair = cni::find_guest_interface(result, interface.sandbox);
    if (pair) EXPECT(pair->tap != pair->guest);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const slicer::Error error = cni::error_from_json(text, "plugin");
  EXPECT(error.kind == slicer::Kind::kDelegate && cni::error_code(error) > 0);
  EXPECT(cni::parse_json(cni::dump_json(cni::error_json(error, "1.1.0"))).has_value());
  const slicer::Result<cni::Json> json = cni::parse_json(text);
  if (!json) return 0;
  for (const char* version : {"0.1.0", "1.1.0"}) {
    const slicer::Result<cni::CniResult> result = cni::parse_result(*json, version);
    if (result) check_result(*result);
    if (!result) EXPECT(!result.error().message.empty());
  }
  return 0;
}
