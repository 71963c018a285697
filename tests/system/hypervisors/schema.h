#pragma once
// The published API schemas, as far as a stand-in checks them: every field's name and type, those that must be there,
// and no others.

#include <string>
#include <string_view>
#include <vector>

#include "lib/cni/json.h"

namespace slicer::test {

/// What is wrong with a Firecracker configuration file; empty: nothing. Source:
/// src/firecracker/swagger/firecracker.yaml (FullVmConfiguration), and that version's fields only.
std::string check_firecracker_config(const cni::Json& config, unsigned minor_version);

/// "key=value,key=value" of one Cloud Hypervisor option. Source: vmm/src/config.rs of v40 and later; ours are few.
struct OptionKey {
  std::string_view name;
  bool required = false;
};
std::string check_option(const std::string& text, const std::vector<OptionKey>& keys);
/// The value of a key; empty when it is not there.
std::string option_value(const std::string& text, std::string_view key);

}  // namespace slicer::test
