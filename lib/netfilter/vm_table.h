#pragma once
// The rules in a VM's namespace, one class for each backend. Private to lib/netfilter; isolation.h is the face.

#include <memory>
#include <string>

#include "lib/netfilter/isolation.h"

namespace slicer::netfilter {

/// As VmTable, for one backend.
class VmTableStore {
 public:
  VmTableStore() = default;
  VmTableStore(const VmTableStore&) = delete;
  VmTableStore& operator=(const VmTableStore&) = delete;
  virtual ~VmTableStore() = default;
  virtual Result<std::optional<std::string>> mark() = 0;
  virtual Result<void> put(const VmTableRules& rules, const std::function<Result<bool>()>& abandoned) = 0;
  virtual Result<void> check(const VmTableRules& rules, VmTableCheck what) = 0;
  virtual Result<void> remove(const std::string& mark) = 0;
};

/// In the calling thread's namespace, whatever it does later. Error: kSystem, kUnsupportedKernel.
Result<std::unique_ptr<VmTableStore>> open_nft_vm_table();
/// The same; nothing is read, and no table made, before the first write.
Result<std::unique_ptr<VmTableStore>> open_legacy_vm_table();

/// The comment by which CHECK knows the lists again without reading thousands of entries: what names all that was
/// compiled, and what names the lists alone.
struct VmListsMark {
  std::string compiled = {};
  std::string lists = {};
  [[nodiscard]] std::string text() const { return "policy " + compiled + " " + lists; }
};
VmListsMark lists_mark(const VmTableRules& rules);
/// Does the comment name the same lists, whatever the host's addresses were?
bool has_same_lists(const std::string& comment, const VmListsMark& wanted);

std::unexpected<Error> foreign_vm_table(const std::string& action, const std::string& mark);

/// As read_vm_policy(), of the legacy tables.
Result<std::optional<PolicyInForce>> read_legacy_vm_policy();

}  // namespace slicer::netfilter
