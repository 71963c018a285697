#include "runner/commands/vm_names.h"

#include <CLI/App.hpp>
#include <algorithm>

#include "lib/base/log.h"
#include "runner/groups/group_vms.h"
#include "runner/state/vm_definition.h"

namespace slicer::runner {

void add_vm_names(CLI::App& command, VmNames& names, const std::string& which) {
  CLI::Option_group& group = *command.add_option_group("which");
  group.add_option("NAME", names.names, "The VMs");
  group.add_flag("--all", names.all, "Every VM" + which);
  group.require_option(1);
}

Result<std::vector<std::string>> chosen_names(const Settings& settings, const VmNames& names,
                                              const std::function<bool(const VmRecord&)>& wanted) {
  if (!names.all) return names.names;
  std::vector<VmRecord> records = TRY(list_vms(settings));
  for (const VmDefinition& kept : TRY(list_definitions(settings)))
    if (std::ranges::find(records, kept.name, &VmRecord::name) == records.end())
      records.push_back(stopped_record(kept));
  std::vector<std::string> chosen;
  for (const VmRecord& record : records)
    if (wanted(record)) chosen.push_back(record.name);
  std::ranges::sort(chosen);
  return chosen;
}

Result<int> for_each_name(const std::vector<std::string>& names,
                          const std::function<Result<void>(const std::string&)>& action) {
  int code = kExitOk;
  for (const std::string& name : names) {
    const Result<void> done = action(name);
    if (done) continue;
    if (names.size() == 1) return std::unexpected(done.error());
    log_line(done.error().message);
    if (!done.error().hint.empty()) log_line("hint: " + done.error().hint);
    code = kExitFailed;
  }
  return code;
}

}  // namespace slicer::runner
