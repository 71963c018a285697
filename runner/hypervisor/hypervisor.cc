#include "runner/hypervisor/hypervisor.h"

#include <algorithm>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/cloud_hypervisor.h"
#include "runner/hypervisor/firecracker.h"
#include "runner/hypervisor/qemu.h"

namespace slicer::runner {

const char* disk_format(const std::string& path) { return path.ends_with(".qcow2") ? "qcow2" : "raw"; }

Result<std::unique_ptr<Hypervisor>> make_hypervisor(const std::string& name) {
  if (name == "qemu") return std::make_unique<Qemu>();
  if (name == "firecracker") return std::make_unique<Firecracker>();
  if (name == "cloud-hypervisor") return std::make_unique<CloudHypervisor>();
  return std::unexpected(find_hypervisor_kind(name).error());
}

std::string last_words(const std::string& log) {
  constexpr size_t kMax = 400;
  const std::string text = read_file(log).value_or("");
  std::string words;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.empty() || line.find("warning: ") != std::string::npos) continue;
    words += (words.empty() ? "" : "; ") + line;
  }
  return words.substr(0, kMax);
}

}  // namespace slicer::runner
