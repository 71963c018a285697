#include "runner/hypervisor/jailer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/net/netns.h"
#include "runner/hypervisor/vm_cgroup.h"
#include "runner/process/program_path.h"

namespace slicer::runner {
namespace {

constexpr const char* kSource =
    "it comes with Firecracker (https://github.com/firecracker-microvm/firecracker/releases): put it beside "
    "firecracker, or name it: --jailer-path FILE";
constexpr uint64_t kMiB = uint64_t{1} << 20;

// The releases have "firecracker-v1.16.0-x86_64" beside "jailer-v1.16.0-x86_64".
std::string beside(const std::string& hypervisor) {
  constexpr std::string_view kFront = "firecracker";
  const size_t name = hypervisor.rfind('/') + 1;
  const std::string folder = hypervisor.substr(0, name);
  if (hypervisor.compare(name, kFront.size(), kFront) == 0) {
    std::string twin = folder + "jailer" + hypervisor.substr(name + kFront.size());
    if (access(twin.c_str(), X_OK) == 0) return twin;
  }
  std::string plain = folder + "jailer";
  return access(plain.c_str(), X_OK) == 0 ? plain : "";
}

Result<std::string> jailer_path(const HypervisorProgram& program, const std::string& path) {
  if (path.empty()) {
    std::string found = beside(program.path);
    if (!found.empty()) return found;
    return find_program("jailer", kSource);
  }
  if (path.front() != '/')
    return fail(Kind::kInvalidConfig, fmt::format("--jailer-path '{}': not an absolute path", path),
                "write it from '/' on");
  if (access(path.c_str(), X_OK) == 0) return path;
  const int err = errno;
  Error error = errno_error(err, fmt::format("find the jailer at '{}'", path));
  error.kind = err == ENOENT ? Kind::kNotFound : Kind::kSystem;
  error.hint = kSource;
  return std::unexpected(std::move(error));
}

// The guest's memory, the pages that map it, the program and what the kernel keeps for it; cached files can go.
CgroupLimits limits_of(const Machine& machine) {
  constexpr uint64_t kBeside = 128 * kMiB;
  constexpr unsigned kThreads = 64;  // its own beside the processors', and the kernel's for KVM
  const uint64_t ram = machine.ram_mib * kMiB;
  return {.memory_bytes = ram + ram / 64 + kBeside, .processes = machine.vcpus + kThreads};
}

// A VM without it is as safe from others, and as well jailed; doctor tells of a host that has no second version.
void add_cgroup(const Machine& machine, std::vector<std::string>& argv) {
  const std::optional<std::string> root = cgroup_root();
  if (!root) return;
  const Result<std::string> group = make_vm_cgroup(*root, machine.name, limits_of(machine));
  if (!group) return log_line(group.error().message + ": the VM has none of its own, ignoring");
  // Without --cgroup it moves itself to the parent that is there: docs/jailer.md.
  argv.insert(argv.end(), {"--cgroup-version", "2", "--parent-cgroup", *group});
}

// Its own default would raise a lower limit, for which it has no right.
void add_descriptor_limit(std::vector<std::string>& argv) {
  constexpr rlim_t kDefault = 2048;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max >= kDefault) return;
  argv.insert(argv.end(), {"--resource-limit", fmt::format("no-file={}", limit.rlim_max)});
}

Result<bool> is_own_netns(int netns) {
  struct stat theirs{};
  struct stat own{};
  if (fstat(netns, &theirs) != 0 || stat("/proc/thread-self/ns/net", &own) != 0)
    return fail_errno(errno, "look at the VM's network namespace");
  return theirs.st_dev == own.st_dev && theirs.st_ino == own.st_ino;
}

void show_files(const GivenFiles& files, const std::string& root, JailSpec& jail) {
  const auto add = [&](const std::string& name) {
    const GivenFile& file = files.files[jail.entries.size()];
    jail.entries.push_back({.fd = file.fd, .path = root + name, .writable = file.writable});
  };
  add(files.kernel);
  if (!files.initrd.empty()) add(files.initrd);
  for (const std::string& disk : files.disks) add(disk);
}

}  // namespace

Result<std::string> find_jailer(const HypervisorKind& kind, const HypervisorProgram& program, const std::string& path) {
  if (!kind.jailer)
    return fail(Kind::kUnsupportedField, fmt::format("a jailer is Firecracker's: {} has none", kind.name),
                "leave it out (--jailer, jailer: in a host group), or use --hypervisor firecracker");
  std::string jailer = TRY(jailer_path(program, path));
  const std::string said = TRY(ask_version(jailer));
  const Result<Version> version = parse_version(said);
  if (!version || !said.starts_with("Jailer "))
    return fail(Kind::kInvalidConfig, fmt::format("'{}' is not Firecracker's jailer: it says no version", jailer),
                kSource);
  if (*version != program.version)
    return fail(Kind::kUnsupportedVersion,
                fmt::format("'{}' is jailer {}, but '{}' is {} {}: both must be of one release", jailer,
                            version_text(*version), program.path, kind.name, version_text(program.version)),
                kSource);
  return jailer;
}

Result<void> check_jailable(const net::Link& link) {
  if (link.kind != "macvtap") return {};
  return fail(Kind::kUnsupportedField,
              "'" + link.name + "' is a macvtap: the jailer's /dev/net/tun is that of TAPs, and finds no macvtap",
              "leave the jailer out (--jailer, jailer: in a host group), or use a network of bridge or isolated mode");
}

void rename_for_jail(GivenFiles& files) {
  files.kernel = "/kernel";
  if (!files.initrd.empty()) files.initrd = "/initrd";
  for (size_t i = 0; i < files.disks.size(); ++i) files.disks[i] = fmt::format("/disk{}", i);
}

Result<void> add_jailer(const Machine& machine, const GivenFiles& files, const JailContent& content, int program,
                        ConfinedSpec& spec) {
  struct stat info{};
  if (fstat(program, &info) != 0) return fail_errno(errno, "look at '" + machine.program.path + "'");
  JailSpec jail;
  jail.base = machine.folder + "/jail";
  TRY(ensure_directory(jail.base, 0700));
  jail.bytes = static_cast<uint64_t>(info.st_size) + kMiB;  // the jailer copies the program
  // By this name whatever the file is called: the jailer, up to 1.12, insists on it, and makes a folder of it.
  const std::string exec_file = jail.base + "/exec/firecracker";
  const std::string root = jail.base + "/firecracker/" + content.id + "/root";
  jail.folders = {jail.base + "/exec", jail.base + "/firecracker", jail.base + "/firecracker/" + content.id, root};
  show_files(files, root, jail);
  jail.entries.push_back({.fd = content.config, .path = root + JailNames::kConfig});
  jail.entries.push_back({.fd = content.control, .path = root + JailNames::kControl, .folder = true, .writable = true});
  jail.entries.push_back({.fd = program, .path = exec_file});
  jail.null = root + JailNames::kNull;

  spec.argv = {machine.program.jailer,
               "--id",
               content.id,
               "--exec-file",
               exec_file,
               "--uid",
               std::to_string(machine.uid),
               "--gid",
               std::to_string(machine.gid),
               "--chroot-base-dir",
               jail.base};
  // Not --new-pid-ns, which would hide the process from its supervisor: it is in a ProcessCell. Not --daemonize: the
  // serial line is its terminal. Of --resource-limit no "fsize": it would be a disk's.
  if (!TRY(is_own_netns(machine.nic.netns.get()))) {
    jail.netns = machine.nic.netns.get();
    jail.netns_path = jail.base + "/netns";
    spec.argv.insert(spec.argv.end(), {"--netns", jail.netns_path});
  }
  add_descriptor_limit(spec.argv);
  add_cgroup(machine, spec.argv);
  spec.argv.emplace_back("--");
  spec.argv.insert(spec.argv.end(), content.arguments.begin(), content.arguments.end());
  spec.jail = std::move(jail);
  return {};
}

}  // namespace slicer::runner
