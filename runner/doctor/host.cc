// What the host itself must have.

#include <fmt/format.h>

#include "lib/cni/attachment.h"
#include "lib/net/tap.h"
#include "runner/doctor/checks.h"
#include "runner/gc/leftovers.h"
#include "runner/guest/image.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/hypervisor/jailer.h"
#include "runner/hypervisor/kinds.h"
#include "runner/hypervisor/vm_cgroup.h"
#include "runner/networks/attachments.h"
#include "runner/ssh/host_tar.h"
#include "runner/supervisor/system_user.h"

namespace slicer::runner::doctor {
namespace {

void check_tun(Findings& findings) {
  const Result<void> tun = net::check_tun_device();
  if (tun) return findings.ok("tun", "/dev/net/tun opens");
  findings.fail("tun", tun.error().message, tun.error().hint);
}

void check_kvm(Findings& findings) {
  const std::string why_not = why_no_kvm(probe_kvm());
  if (why_not.empty()) return findings.ok("kvm", "KVM works");
  findings.warn("kvm", "VMs run without KVM, several times slower: " + why_not,
                "on hardware: switch virtualization on in the firmware, modprobe kvm_intel or kvm_amd; in a VM: nested "
                "virtualization");
}

// Only where there is one: it is a group's wish to use it.
void check_jailer(const HypervisorKind& kind, const HypervisorProgram& program, Findings& findings) {
  if (!kind.jailer) return;
  const Result<std::string> jailer = find_jailer(kind, program, "");
  if (!jailer && jailer.error().kind == Kind::kNotFound) return;
  if (!jailer) return findings.warn("jailer", jailer.error().message, jailer.error().hint);
  if (cgroup_root()) return findings.ok("jailer", "a jailer of the same release is there, " + *jailer);
  findings.warn("jailer", "a jailer is there, " + *jailer + ", but no cgroup v2: its VMs get no cgroup of their own",
                "boot with systemd.unified_cgroup_hierarchy=1, or mount -t cgroup2 none /sys/fs/cgroup");
}

// What is not installed is only told of when nothing else is: a host needs one.
void check_hypervisors(Findings& findings) {
  bool any = false;
  std::string sources;
  for (const HypervisorKind& kind : hypervisor_kinds()) {
    const Result<HypervisorProgram> program = find_hypervisor(kind, "");
    if (!program && program.error().kind == Kind::kNotFound) {
      sources += fmt::format("{}{}: {}", sources.empty() ? "" : "; ", kind.name, kind.source);
      continue;
    }
    any = true;
    if (!program)
      findings.warn("hypervisor", program.error().message, program.error().hint);
    else
      findings.ok("hypervisor",
                  fmt::format("{}{} is there, {}", kind.name,
                              kind.least == Version{} ? "" : " " + version_text(program->version), program->path));
    if (program) check_jailer(kind, *program, findings);
  }
  if (!any)
    findings.fail("hypervisor", "no hypervisor (" + hypervisor_names() + ") is installed: no VM can start", sources);
}

void check_user(Findings& findings) {
  const Result<SystemUser> user = hypervisor_user();
  if (user) return findings.ok("user", fmt::format("hypervisors run as slicer-vm (uid {})", user->uid));
  findings.fail("user", user.error().message, user.error().hint);
}

void check_machine_id(Findings& findings) {
  if (!cni::machine_id().empty()) return findings.ok("machine-id", "/etc/machine-id is there");
  findings.warn("machine-id", "/etc/machine-id is absent or empty: two such hosts give equal VMs equal MAC addresses",
                "systemd-machine-id-setup");
}

void check_image(const Settings& settings, Findings& findings) {
  const Result<BootFiles> files = resolve_image(settings.image_dir, {});
  if (files) return findings.ok("image", "the guest image '" + settings.image_dir + "' is there");
  findings.warn("image", files.error().message, files.error().hint);
}

void check_copy(Findings& findings) {
  const Result<std::string> tar = find_gnu_tar();
  if (tar) return findings.ok("copy", fmt::format("vm cp has GNU tar, {}", *tar));
  findings.warn("copy", tar.error().message, tar.error().hint);
}

}  // namespace

void check_host(const Settings& settings, Findings& findings) {
  check_tun(findings);
  check_kvm(findings);
  check_hypervisors(findings);
  check_user(findings);
  check_machine_id(findings);
  check_image(settings, findings);
  check_copy(findings);
}

namespace {

// Whether there is any: what only a name tells of.
bool find_nameless(const Settings& settings, Findings& findings) {
  bool any = false;
  const auto tell = [&](const char* what, const Result<std::vector<std::string>>& vms) {
    if (!vms) findings.fail("leftovers", vms.error().message, vms.error().hint);
    if (vms)
      for (const std::string& vm : *vms)
        findings.warn("leftovers", fmt::format("{} of VM {}, of which nothing else is left", what, vm),
                      "slicer-run gc");
    any = any || !vms || !vms->empty();
  };
  tell("the network namespace", find_orphan_namespaces(settings));
  tell("files", find_orphan_files(settings));
  return any;
}

}  // namespace

void check_leftovers(const Settings& settings, Findings& findings) {
  const Result<std::vector<NetworkAttachment>> attachments = list_attachments(settings);
  if (!attachments) return findings.fail("leftovers", attachments.error().message, attachments.error().hint);
  bool any = find_nameless(settings, findings);
  for (const NetworkAttachment& attachment : *attachments) {
    const std::string who = fmt::format("{} ({}) on network '{}'", attachment.key.container_id, attachment.key.ifname,
                                        attachment.key.network);
    if (attachment.state == AttachmentState::kDead)
      findings.warn("leftovers", "a dead VM left " + who, "slicer-run gc");
    if (attachment.state == AttachmentState::kGone)
      findings.warn("leftovers", "another runtime left " + who + ": its namespace is gone",
                    fmt::format("that runtime's DEL, or: cnitool del {} '' with CNI_IFNAME={}", attachment.key.network,
                                attachment.key.ifname));
    any |= attachment.state == AttachmentState::kDead || attachment.state == AttachmentState::kGone;
  }
  if (!any) findings.ok("leftovers", "no dead attachments");
}

}  // namespace slicer::runner::doctor
