// stdin of a plugin: the configuration, as each verb reads it, and the keys that attachments read from it.

#include "lib/cni/attachment.h"
#include "lib/cni/error.h"
#include "lib/cni/net_conf.h"
#include "lib/cni/result_versions.h"
#include "tests/fuzz/expect.h"

namespace cni = slicer::cni;

namespace {

// An error can be printed, with a code that a runtime understands.
void check_error(const slicer::Error& error) {
  EXPECT(!error.message.empty());
  const int code = cni::error_code(error);
  EXPECT(code == 1 || code == 6 || code == 7);
  EXPECT(cni::parse_json(cni::dump_json(cni::error_json(error, "1.1.0"))).has_value());
}

void check_conf(const cni::NetConf& conf) {
  EXPECT(cni::is_supported(conf.cni_version));
  EXPECT(cni::check_network_name(conf.name).has_value());
  EXPECT(cni::parse_json(cni::dump_json(conf.raw)).value() == conf.raw);
  if (conf.prev_result) EXPECT(cni::result_json(*conf.prev_result, conf.cni_version).has_value());
  if (const auto mac = cni::requested_mac(conf, {}); !mac) check_error(mac.error());
  const cni::Attachment attachment{conf.name, "vm", "eth0"};
  EXPECT(attachment.alias().starts_with(attachment.alias_prefix()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const slicer::Result<cni::NetConf> conf = cni::parse_net_conf(text);
  if (conf) {
    check_conf(*conf);
  } else {
    check_error(conf.error());
  }
  return 0;
}
