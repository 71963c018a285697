// A kernel's file is whatever a user names: finding and unpacking what is packed in it stays within the bytes.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runner/hypervisor/kernel_image.h"
#include "runner/hypervisor/unpack.h"
#include "runner/hypervisor/vmm_api.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto payload = slicer::runner::packed_payload(text)) (void)slicer::runner::unpack(*payload);
  (void)slicer::runner::unpack(text);
  (void)slicer::runner::is_loadable(text);
  (void)slicer::runner::lacking_options(text);
  (void)slicer::runner::parse_api_head(text);  // a hypervisor that its guest has taken over answers anything
  return 0;
}
