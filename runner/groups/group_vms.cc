#include "runner/groups/group_vms.h"

#include <sys/resource.h>

#include "lib/base/log.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {

Result<std::vector<VmRecord>> list_vms(const Settings& settings) {
  std::vector<VmRecord> records;
  for (const std::string& name : TRY(list_vm_names(settings))) {
    Result<VmRecord> record = load_record(settings, name);
    if (record)
      records.push_back(std::move(*record));
    else if (record.error().kind != Kind::kNotFound)  // one that comes or goes has none
      log_line(record.error().message + ", ignoring");
  }
  return records;
}

Result<std::vector<VmRecord>> list_alive_vms(const Settings& settings) {
  std::vector<VmRecord> records = TRY(list_vms(settings));
  std::erase_if(records, [](const VmRecord& record) { return !is_alive(record); });
  return records;
}

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);  // as it was does for a few hundred
}

}  // namespace slicer::runner
