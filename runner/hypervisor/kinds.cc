#include "runner/hypervisor/kinds.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <charconv>

#include "lib/base/whole_file.h"
#include "runner/hypervisor/qemu.h"
#include "runner/process/child.h"
#include "runner/process/program_path.h"

namespace slicer::runner {
namespace {

constexpr int kVersionLimitMs = 5000;

// The boards' serial ports: a 16550, but on arm64 a PL011 with QEMU and Cloud Hypervisor.
#if defined(__x86_64__)
constexpr const char* kBoardConsole = "ttyS0";
#else
constexpr const char* kBoardConsole = "ttyAMA0";
#endif

constexpr HypervisorKind kQemu = {.name = "qemu",
                                  .program = "",  // by the processor
                                  .source = "install it: apt install qemu-system",
                                  .console = kBoardConsole,
                                  .emulates = true,
                                  .layers = true};
// Its own numbers of queues and of processors: src/firecracker/swagger/firecracker.yaml, MachineConfiguration.
constexpr HypervisorKind kFirecracker = {
    .name = "firecracker",
    .program = "firecracker",
    .source =
        "put a release of https://github.com/firecracker-microvm/firecracker/releases on PATH as 'firecracker', "
        "or name it: --hypervisor-path FILE",
    .least = {1, 7},
    .device = DeviceWay::kName,
    .in_netns = true,
    .line = LineKind::kTerminal,
    .console = "ttyS0",
    .jailer = true,
    .plain_kernel = true,
    .limits_rate = true,
    .max_vcpus = 32};
// By descriptor even where a name would do: without one it sets address and MTU of a device that it cannot see in
// /sys, which is the host namespace's here (net_util/src/open_tap.rs of v40). In the device's namespace all the same:
// it asks for the MTU by the device's name, and tells the guest.
constexpr HypervisorKind kCloudHypervisor = {
    .name = "cloud-hypervisor",
    .program = "cloud-hypervisor",
    .source =
        "put a release of https://github.com/cloud-hypervisor/cloud-hypervisor/releases on PATH as "
        "'cloud-hypervisor', or name it: --hypervisor-path FILE",
    .least = {40, 0},
    .device = DeviceWay::kDescriptor,
    .in_netns = true,
    .line = LineKind::kTerminal,
    .console = kBoardConsole,
    .plain_kernel = true,
    .max_vcpus = 254};
constexpr std::array kKinds = {kQemu, kFirecracker, kCloudHypervisor};

std::string program_name(const HypervisorKind& kind) {
  return *kind.program == '\0' ? qemu_platform().program : kind.program;
}

Result<std::string> path_of(const HypervisorKind& kind, const std::string& path) {
  if (path.empty()) return find_program(program_name(kind), kind.source);
  if (path.front() != '/')
    return fail(Kind::kInvalidConfig, fmt::format("--hypervisor-path '{}': not an absolute path", path),
                "write it from '/' on");
  if (access(path.c_str(), X_OK) == 0) return path;
  const int err = errno;
  Error error = errno_error(err, fmt::format("find hypervisor '{}' at '{}'", kind.name, path));
  error.kind = err == ENOENT ? Kind::kNotFound : Kind::kSystem;
  error.hint = "name another file, or leave --hypervisor-path out: PATH is searched then";
  return std::unexpected(std::move(error));
}

}  // namespace

std::string version_text(Version version) { return fmt::format("{}.{}", version.major, version.minor); }

std::span<const HypervisorKind> hypervisor_kinds() { return kKinds; }

std::string hypervisor_names() {
  std::string names;
  for (size_t i = 0; i < kKinds.size(); ++i)
    names += fmt::format("{}{}", i == 0 ? "" : i + 1 == kKinds.size() ? " or " : ", ", kKinds[i].name);
  return names;
}

Result<const HypervisorKind*> find_hypervisor_kind(std::string_view name) {
  for (const HypervisorKind& kind : kKinds)
    if (kind.name == name) return &kind;
  return fail(Kind::kInvalidConfig, fmt::format("hypervisor '{}' is not known", name), "use " + hypervisor_names());
}

Result<Accelerator> choose_accelerator(const HypervisorKind& kind, Accelerator wanted, const KvmFacts& facts) {
  if (kind.emulates) return choose_accelerator(wanted, facts);
  const std::string reason = wanted == Accelerator::kTcg ? "TCG is QEMU's" : why_no_kvm(facts);
  if (reason.empty()) return Accelerator::kKvm;
  return fail(Kind::kUnsupportedKernel, fmt::format("hypervisor '{}' needs KVM: {}", kind.name, reason),
              wanted == Accelerator::kTcg
                  ? "use --accel auto or kvm, or --hypervisor qemu"
                  : "use --hypervisor qemu, or switch virtualization on (firmware; nested virtualization in a VM)");
}

Result<Version> parse_version(std::string_view text) {
  const size_t blank = text.find(' ');
  std::string_view rest = text.substr(std::min(blank, text.size()));
  while (!rest.empty() && (rest.front() == ' ' || rest.front() == 'v')) rest.remove_prefix(1);
  Version version;
  const char* end = rest.data() + rest.size();
  const auto major = std::from_chars(rest.data(), end, version.major);
  if (major.ec != std::errc() || major.ptr == end || *major.ptr != '.')
    return fail(Kind::kDecode, fmt::format("no version in '{}'", text.substr(0, text.find('\n'))));
  if (std::from_chars(major.ptr + 1, end, version.minor).ec != std::errc())
    return fail(Kind::kDecode, fmt::format("no version in '{}'", text.substr(0, text.find('\n'))));
  return version;
}

Result<std::string> ask_version(const std::string& program) {
  Pipe pipe = TRY(make_pipe());
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid()) return fail_errno(errno, "open '/dev/null'");
  const Child child = TRY(
      Child::start({.argv = {program, "--version"}, .in = null.get(), .out = pipe.write_end.get(), .err = null.get()}));
  pipe.write_end.reset();
  pollfd ended{.fd = child.pidfd(), .events = POLLIN, .revents = 0};
  if (poll(&ended, 1, kVersionLimitMs) != 1) return std::string();
  // What it left running may still hold the pipe: no more than what is there is read.
  std::array<char, 1024> text = {};
  (void)fcntl(pipe.read_end.get(), F_SETFL, O_NONBLOCK);
  const ssize_t count = read(pipe.read_end.get(), text.data(), text.size());
  return std::string(text.data(), count > 0 ? static_cast<size_t>(count) : 0);
}

Result<HypervisorProgram> find_hypervisor(const HypervisorKind& kind, const std::string& path) {
  HypervisorProgram program;
  program.path = TRY(path_of(kind, path));
  if (kind.least == Version{}) return program;
  const std::string said = TRY(ask_version(program.path));
  const Result<Version> version = parse_version(said);
  if (!version)
    return fail(Kind::kInvalidConfig, fmt::format("'{}' is not {}: it says no version", program.path, kind.name),
                kind.source);
  if (*version < kind.least)
    return fail(Kind::kUnsupportedVersion,
                fmt::format("'{}' is {} {}: {} is the oldest that works", program.path, kind.name,
                            version_text(*version), version_text(kind.least)),
                kind.source);
  program.version = *version;
  return program;
}

}  // namespace slicer::runner
