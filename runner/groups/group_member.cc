#include "runner/groups/group_member.h"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <charconv>

#include "runner/groups/group_pool.h"
#include "runner/groups/to_conflist.h"
#include "runner/groups/yaml.h"
#include "runner/state/vm_definition.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

using namespace std::chrono_literals;

constexpr auto kChangeLimit = 120s;  // an `up` of many VMs has the lock until they run
constexpr int kLookMs = 5;
constexpr unsigned kMaxNumber = 1000;  // yaml.cc's limit of count

// How many VMs the group's lists are written for.
unsigned limit_of(const HostGroup& group) {
  size_t limit = kMaxNumber;
  if (group.network) limit = std::min(limit, group.network->numbered_vms());
  if (!group.macs.empty()) limit = std::min(limit, group.macs.size());
  return static_cast<unsigned>(limit);
}

Result<unsigned> lowest_free_number(const Settings& settings, const HostGroup& group) {
  std::vector<std::string> names = TRY(list_vm_names(settings));
  for (const VmDefinition& kept : TRY(list_definitions(settings))) names.push_back(kept.name);
  const unsigned limit = limit_of(group);
  for (unsigned number = 1; number <= limit; ++number)
    if (std::ranges::find(names, group.vm_name(number)) == names.end()) return number;
  return fail(Kind::kExhausted,
              fmt::format("host group '{}': all of its {} VMs, {} to {}, are there", group.name, limit,
                          group.vm_name(1), group.vm_name(limit)),
              limit < kMaxNumber ? "write more \"addresses\" (or \"mac\") in its file and run up again, or remove a VM"
                                 : "remove a VM: slicer-run vm rm");
}

// "vm-2" of the group "vm": its second address is meant.
unsigned number_of(const HostGroup& group, const std::string& name) {
  const std::string front = group.name + "-";
  if (!name.starts_with(front)) return 0;
  unsigned number = 0;
  const auto [end, failed] = std::from_chars(name.data() + front.size(), name.data() + name.size(), number);
  return failed == std::errc{} && name == group.vm_name(number) ? number : 0;
}

void take_image(const ImageOverrides& wish, ImageOverrides& image) {
  if (wish.kernel) image = {};  // an initrd belongs to its kernel
  if (wish.kernel) image.kernel = wish.kernel;
  if (wish.initrd) image.initrd = wish.initrd;
  if (wish.disk) image.disk = wish.disk;
  if (wish.cmdline) image.cmdline = wish.cmdline;
}

// The caller holds the lock for changes.
Result<LaunchSpec> next_member(const Settings& settings, const GroupNote& note, const MemberWish& wish) {
  const HostGroup group = TRY(group_of(settings, note));
  const chain::Conflist network = TRY(group_network(group, note.file, settings.conf_dir));
  const unsigned number = wish.name.empty() ? TRY(lowest_free_number(settings, group)) : number_of(group, wish.name);
  LaunchSpec spec = TRY(group_vm_spec(group, number, network, note.file));
  if (!wish.name.empty()) spec.name = wish.name;
  take_image(wish.image, spec.image);
  spec.vcpus = wish.vcpus.value_or(spec.vcpus);
  spec.ram_mib = wish.ram_mib.value_or(spec.ram_mib);
  spec.storage_bytes = wish.storage_bytes.value_or(spec.storage_bytes);
  spec.accelerator = wish.accelerator.value_or(spec.accelerator);
  spec.hypervisor = wish.hypervisor.value_or(spec.hypervisor);
  spec.hypervisor_path = wish.hypervisor_path;
  spec.jailer |= wish.jailer;
  spec.jailer_path = wish.jailer_path;
  spec.capability_args.update(wish.capability_args);
  return spec;
}

// Until then no command but us knows that the VM is of the group.
void await_record(const Settings& settings, const StartingVm& vm) {
  for (;;) {
    pollfd answer{.fd = vm.answer.get(), .events = POLLIN, .revents = 0};
    if (poll(&answer, 1, kLookMs) != 0) return;
    const Result<VmRecord> record = load_record(settings, vm.name);
    if (record && record->supervisor.pid == vm.supervisor) return;
  }
}

std::unexpected<Error> not_up(const std::string& group) {
  return fail(Kind::kNotFound, fmt::format("no host group '{}' is up", group),
              "slicer-run up FILE brings it up; or name the file: --file FILE");
}

}  // namespace

Result<VmRecord> start_member(const Settings& settings, const std::string& group, const MemberWish& wish) {
  std::optional<GroupLock> lock =
      TRY(GroupLock::acquire(settings, GroupLock::Purpose::kChange, group, "", kChangeLimit));
  const std::optional<GroupNote> note = TRY(find_note(settings, group));
  if (!note) return not_up(group);
  const VmRequest request = TRY(make_request(settings, TRY(next_member(settings, *note, wish))));
  StartingVm vm = TRY(begin_vm(settings, request, TRY(take_name(settings, request.name))));
  await_record(settings, vm);
  lock.reset();
  return await_vm(std::move(vm));
}

Result<void> note_group(const Settings& settings, const std::string& group, const std::string& file) {
  const GroupLock lock = TRY(GroupLock::acquire(settings, GroupLock::Purpose::kChange, group, file, kChangeLimit));
  HostGroups groups = TRY(read_host_groups(file));
  if (std::ranges::find(groups.groups, group, &HostGroup::name) == groups.groups.end())
    return fail(Kind::kNotFound, fmt::format("'{}' has no host group '{}'", groups.file, group));
  if (const std::optional<GroupNote> note = TRY(find_note(settings, group))) {
    if (note->file == groups.file) return {};
    return fail(Kind::kExists, fmt::format("host group '{}' is up from another file, '{}'", group, note->file),
                "rename the group, or end it: slicer-run down " + group);
  }
  TRY(choose_gateways(settings, groups, Keep::kYes));
  return write_note(settings, {.group = group, .file = groups.file, .text = groups.text});
}

}  // namespace slicer::runner
