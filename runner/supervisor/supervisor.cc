#include "runner/supervisor/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <optional>
#include <vector>

#include "lib/base/log.h"
#include "lib/net/link.h"
#include "lib/net/macvtap.h"
#include "lib/net/netns.h"
#include "lib/net/tap.h"
#include "runner/guest/boot_args.h"
#include "runner/guest/disk.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/state/epitaph.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/address_watch.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/bounded_log.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/console_broker.h"
#include "runner/supervisor/console_socket.h"
#include "runner/supervisor/packet_log.h"
#include "runner/supervisor/report.h"
#include "runner/supervisor/side_task.h"
#include "runner/supervisor/system_user.h"
#include "runner/supervisor/watch.h"

namespace slicer::runner {
namespace {

#if defined(__x86_64__)
constexpr const char* kSerialConsole = "ttyS0";
#else
constexpr const char* kSerialConsole = "ttyAMA0";
#endif

// The supervisor's longest way out behind the guest's own: watch.cc's other limits, and the DEL chain.
constexpr std::chrono::seconds kStopLimit{45};

// A caller that waits for the end of a pipe must not wait for a VM: nothing of his stays open but stderr, and that only
// until the VM runs.
Result<void> leave_caller(int lock, int report) {
  if (setsid() < 0) return fail_errno(errno, "start a session");
  const UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null.valid() || dup2(null.get(), STDIN_FILENO) < 0 || dup2(null.get(), STDOUT_FILENO) < 0)
    return fail_errno(errno, "open '/dev/null'");
  const auto [low, high] = std::minmax(lock, report);
  (void)close_range(STDERR_FILENO + 1, static_cast<unsigned>(low) - 1, 0);
  (void)close_range(static_cast<unsigned>(low) + 1, static_cast<unsigned>(high) - 1, 0);
  (void)close_range(static_cast<unsigned>(high) + 1, ~0U, 0);
  if (chdir("/") != 0) return fail_errno(errno, "go to '/'");
  (void)umask(0022);  // the plugins inherit it: what they make for all (/run/netns, /run/sysctl.d) is not root's alone
  return {};
}

/// The VM's end of its network.
struct VmLink {
  net::Netns sandbox;
  net::Link tap = {};
};

class Supervisor {
 public:
  Supervisor(const Settings& settings, const VmRequest& request, const VmLock& lock)
      : settings_(settings), request_(request), lock_(lock), files_(vm_files(settings, request.name)) {
    record_.name = request.name;
  }

  /// Returns the exit code.
  int run(UniqueFd report) {
    if (Result<void> started = start(report.get()); !started) {
      take_back(started);
      (void)send_report(report, std::unexpected(started.error()));  // nobody there: nobody to tell
      return 1;
    }
    if (!send_report(report, record_)) (void)std::raise(SIGINT);  // whoever asked for the VM is gone: it ends at once
    report.reset();
    log_to_file();
    tasks_.push_back(std::make_unique<LogBound>(files_.hypervisor_log));
    watch_vm(*hypervisor_, *signals_, tasks_, [this](const StopOrder& order) { begin_end(order); });
    enter(Phase::kStopping);
    tell_why();
    for (const auto& task : tasks_) task->on_end();
    hypervisor_.reset();
    tasks_.clear();  // a socket of theirs would keep the VM's namespace
    return end();
  }

 private:
  Result<void> start(int report) {
    TRY(leave_caller(lock_.fd(), report));
    signals_.emplace(TRY(Signals::block()));
    const SystemUser user = TRY(hypervisor_user());
    TRY(take_up_kept());
    TRY(fill_record(user));
    TRY(save_record(settings_, record_));
    disks_ = TRY(find_disks());
    const cni::CniResult result = TRY(attach_as_before());
    const VmInterface interface = TRY(vm_interface(result, record_));
    remember(result, interface);
    const VmLink link = TRY(find_link(interface));
    watch_addresses_of(link);  // before the guest says its first word
    if (auto packets = make_packet_log(settings_, request_.network, record_)) tasks_.push_back(std::move(packets));
    Machine machine = TRY(make_machine(result, interface, link, user));
    hypervisor_ = TRY(make_hypervisor(definition_.hypervisor));
    TRY(hypervisor_->start(std::move(machine)));
    record_.hypervisor = hypervisor_->process();
    TRY(keep_running());
    enter(Phase::kRunning);
    return {};
  }

  // What an earlier run left for this one.
  Result<void> take_up_kept() {
    const std::string& name = request_.name;
    const std::optional<VmDefinition> kept = TRY(find_definition(settings_, name));
    definition_ = request_.definition;
    if (!kept && request_.kept == KeptWish::kMust) return fail(Kind::kNotFound, "no VM '" + name + "'");
    if (!kept) return {};
    if (request_.kept == KeptWish::kRefuse)
      return fail(Kind::kExists, "VM '" + name + "' exists; it is stopped",
                  "boot it: slicer-run vm start " + name + "; or remove it with its disk: slicer-run vm rm " + name);
    if (kept->group != definition_.group)
      return fail(Kind::kExists,
                  "VM '" + name + "' exists (stopped) and is of another host group, '" + kept->group + "'",
                  "remove it with its disk: slicer-run vm rm " + name);
    definition_.created = kept->created;
    definition_.mac = kept->mac;
    definition_.addresses = kept->addresses;
    definition_.kept_disk = kept->kept_disk;
    definition_.storage_bytes = std::max(definition_.storage_bytes, kept->storage_bytes);  // a disk never shrinks
    return {};
  }

  Result<void> make_disk() {
    if (definition_.storage_bytes == 0 || definition_.kept_disk) return {};
    const KeptFiles files = TRY(ensure_kept_folder(settings_, record_.name));
    const std::string action = fmt::format("give VM '{}' a disk", record_.name);
    definition_.kept_disk =
        TRY(create_disk({.folder = files.folder, .image = request_.boot.disk, .bytes = definition_.storage_bytes})
                .context(action));
    return {};
  }

  // Before anything is attached: what is wrong with a disk is wrong at once.
  Result<std::vector<Disk>> find_disks() {
    TRY(make_disk());
    std::vector<Disk> all;
    if (definition_.kept_disk)
      all.push_back(TRY(open_kept_disk(kept_files(settings_, record_.name).folder, *definition_.kept_disk,
                                       definition_.storage_bytes)));
    else if (!request_.boot.disk.empty())
      all.push_back({.path = request_.boot.disk, .format = disk_format(request_.boot.disk)});
    return all;
  }

  // The MAC and the address that it had, where the network has a word for that. An address that another has by now is
  // no reason not to boot.
  Result<cni::CniResult> attach_as_before() {
    const cni::Json asked = record_.capability_args;
    if (!definition_.mac.empty() && !asked.contains("mac")) {
      if (chain::takes_capability(request_.network, "mac"))
        record_.capability_args["mac"] = definition_.mac;
      else
        record_.cni_args.emplace_back("MAC", definition_.mac);
    }
    const bool wants_address =
        !definition_.addresses.empty() && !asked.contains("ips") && chain::takes_capability(request_.network, "ips");
    if (!wants_address) return attach(settings_, request_.network, record_);
    record_.capability_args["ips"] = definition_.addresses;
    Result<cni::CniResult> result = attach(settings_, request_.network, record_);
    if (result) return result;
    TRY(detach(settings_, record_));
    record_.attached = false;
    record_.capability_args.erase("ips");
    return attach(settings_, request_.network, record_);
  }

  // From here on the VM outlives its runs, or not any more: a kept VM without a disk has been booted again. Before this
  // a failure leaves nothing of a new VM.
  Result<void> keep_running() {
    if (definition_.kept_disk) return save_definition(settings_, definition_);
    return delete_definition(settings_, record_.name);
  }

  Result<void> fill_record(const SystemUser& user) {
    record_.created = std::time(nullptr);
    record_.supervisor = TRY(identify_process(getpid()));
    record_.network = request_.network.name;
    record_.conflist = request_.network.bytes;
    record_.conf_dir = definition_.conf_dir;
    record_.cni_path = settings_.cni_path;
    record_.cache_dir = settings_.cache_dir;
    // The TAP's owner; plugins that do not know these keys pass them over.
    record_.cni_args = {{"IgnoreUnknown", "1"},
                        {"TC_REDIRECT_TAP_UID", std::to_string(user.uid)},
                        {"TC_REDIRECT_TAP_GID", std::to_string(user.gid)},
                        {chain::kVmArg, request_.name}};
    record_.placement = request_.network.host_netns ? Placement::kHost : Placement::kPrivate;
    record_.hypervisor_name = definition_.hypervisor;
    record_.accelerator = accelerator_name(request_.accelerator);
    record_.vcpus = definition_.vcpus;
    record_.ram_mib = definition_.ram_mib;
    record_.group = definition_.group;
    record_.group_file = definition_.group_file;
    record_.capability_args = definition_.capability_args;
    describe();
    return {};
  }

  // For commands that look at a running VM, or at a dead one. The record has the list already.
  void describe() {
    record_.definition = definition_json(definition_);
    record_.definition.erase("conflist");
  }

  void remember(const cni::CniResult& result, const VmInterface& interface) {
    record_.mac = interface.guest.mac;
    record_.tap = interface.tap.name;
    for (const cni::IpConfig& ip : result.ips) {
      record_.addresses.push_back(ip.address.text());
      if (ip.gateway) record_.gateways.push_back(ip.gateway->text());
    }
    definition_.mac = record_.mac;
    definition_.addresses = record_.addresses;
    describe();
  }

  Result<VmLink> find_link(const VmInterface& interface) const {
    net::Netns sandbox = TRY(net::Netns::open(record_.netns));
    net::RouteSocket session = TRY(net::RouteSocket::open_in(sandbox));
    net::Link tap = TRY(net::get_link(session, interface.tap.name));
    return VmLink{.sandbox = std::move(sandbox), .tap = std::move(tap)};
  }

  // Where the network gave no IPv4 address, a DHCP server may; a guest that is a device of the LAN has more than the
  // network gave.
  void watch_addresses_of(const VmLink& link) {
    const bool has_ipv4 = std::ranges::any_of(
        record_.addresses, [](const std::string& cidr) { return cidr.find(':') == std::string::npos; });
    const Result<addr::Mac> guest = addr::parse_mac(record_.mac);
    if ((has_ipv4 && link.tap.kind != "macvtap") || !guest) return;
    auto watch = watch_addresses(link.sandbox, link.tap, *guest,
                                 {.on_change =
                                      [this](const AddressBook& book) {
                                        if (note_addresses(book, record_)) save();
                                      },
                                  .on_link_gone = [this] { note_link_gone(); }});
    if (watch)
      tasks_.push_back(std::move(*watch));
    else
      log_line(watch.error().message + ": list will not show the VM's addresses, ignoring");
  }

  // A macvtap goes with its parent.
  void note_link_gone() {
    log_line("the VM's link '" + record_.tap + "' is gone: it has no network any more");
    record_.link_gone = true;
    save();
  }

  // A macvtap's device is opened here alone, and only once: a second descriptor gets a share of the guest's packets.
  static Result<UniqueFd> open_link(const VmLink& link) {
    if (link.tap.kind == "macvtap") return net::open_macvtap(link.sandbox, link.tap.name);
    return net::open_tap(&link.sandbox, link.tap.name);
  }

  Result<Machine> make_machine(const cni::CniResult& result, const VmInterface& interface, const VmLink& link,
                               const SystemUser& user) {
    Machine machine;
    machine.name = request_.name;
    machine.boot = request_.boot;
    machine.boot.cmdline =
        boot_command_line({.image = request_.boot.cmdline, .vm_name = request_.name, .console = kSerialConsole}, result,
                          interface.guest_index);
    machine.disks = disks_;
    machine.vcpus = definition_.vcpus;
    machine.ram_mib = definition_.ram_mib;
    machine.accelerator = request_.accelerator;
    machine.guest_mac = interface.guest.mac;
    machine.mtu = link.tap.mtu_bytes;
    machine.tap = TRY(open_link(link));
    machine.console = TRY(open_console());
    machine.log = files_.hypervisor_log;
    machine.uid = user.uid;
    machine.gid = user.gid;
    return machine;
  }

  // The guest's end of its serial line; the broker has the other.
  Result<UniqueFd> open_console() {
    std::array<int, 2> ends = {-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      return fail_errno(errno, "make a serial line");
    UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    UniqueFd listener = TRY(listen_on(files_.folder, files_.console_socket));
    tasks_.push_back(TRY(ConsoleBroker::create(std::move(ours), std::move(listener), files_.console_log)));
    return theirs;
  }

  // Only a failed start comes here: the error says what remains, should the way back fail too.
  void take_back(Result<void>& started) {
    hypervisor_.reset();
    tasks_.clear();
    const Result<void> removed = remove_vm(settings_, record_, lock_);
    if (!removed) started.error().message += "; and taking it back failed: " + removed.error().message;
  }

  // Kept first: whatever happens from here on, the VM is then stopped and not gone.
  void begin_end(const StopOrder& order) {
    asked_ = true;
    if (order.keep && !definition_.stopped) {
      definition_.stopped = true;
      if (const Result<void> saved = save_definition(settings_, definition_); !saved)
        log_line(saved.error().message + ", ignoring");
    }
    enter(Phase::kStopping);
  }

  // For whoever keeps the VM's group. The hypervisor is not reaped yet, so it can still be asked how it ended.
  void tell_why() {
    siginfo_t end{};
    const bool known = waitid(P_PIDFD, static_cast<id_t>(hypervisor_->pidfd()), &end, WEXITED | WNOHANG | WNOWAIT) == 0;
    const bool in_order = known && end.si_code == CLD_EXITED && end.si_status == 0;
    EndReason reason = EndReason::kAsked;
    if (!asked_)
      reason = !in_order ? EndReason::kFailed : hypervisor_->was_reset() ? EndReason::kReset : EndReason::kGuest;
    const Result<void> left =
        leave_epitaph(settings_, record_.group, record_.name, {.supervisor = record_.supervisor, .reason = reason});
    if (!left) log_line(left.error().message + ", ignoring");
  }

  int end() {
    const Result<void> removed = remove_vm(settings_, record_, lock_);
    if (removed) return 0;
    log_line("remove VM '" + record_.name + "': " + removed.error().message);  // the state stays for the next command
    return 1;
  }

  void enter(Phase phase) {
    if (record_.phase == phase) return;
    record_.phase = phase;
    save();
  }

  void save() {
    if (const Result<void> saved = save_record(settings_, record_); !saved)
      log_line(saved.error().message + ", ignoring");
  }

  void log_to_file() {
    const UniqueFd log(
        open(files_.supervisor_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (log.valid())
      (void)dup2(log.get(), STDERR_FILENO);
    else
      (void)dup2(STDIN_FILENO, STDERR_FILENO);
  }

  const Settings& settings_;
  const VmRequest& request_;
  const VmLock& lock_;
  VmFiles files_;
  VmRecord record_ = {};
  VmDefinition definition_ = {};
  bool asked_ = false;  ///< to end
  std::vector<Disk> disks_ = {};
  std::optional<Signals> signals_ = {};
  std::unique_ptr<Hypervisor> hypervisor_ = {};
  std::vector<std::unique_ptr<SideTask>> tasks_ = {};
};

}  // namespace

Result<StartingVm> begin_vm(const Settings& settings, const VmRequest& request, VmLock lock) {
  std::array<int, 2> ends = {-1, -1};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  StartingVm starting;
  starting.name = request.name;
  starting.answer = UniqueFd(ends[0]);
  UniqueFd write_end(ends[1]);
  starting.supervisor = fork();
  if (starting.supervisor < 0) return fail_errno(errno, "start a supervisor");
  if (starting.supervisor == 0) {
    const int code = Supervisor(settings, request, lock).run(std::move(write_end));
    _exit(code);
  }
  return starting;
}

Result<VmRecord> await_vm(StartingVm starting) {
  Result<VmRecord> report = receive_report(starting.answer);
  if (!report) (void)waitpid(starting.supervisor, nullptr, 0);  // it has taken everything back when it ends
  return report;
}

Result<VmRecord> start_vm(const Settings& settings, const VmRequest& request, VmLock lock) {
  return await_vm(TRY(begin_vm(settings, request, std::move(lock))));
}

Result<void> ask_to_stop(const VmRecord& record, const StopWish& wish) {
  const UniqueFd supervisor = open_process(record.supervisor);
  if (!supervisor.valid()) return {};
  const StopOrder order{.keep = wish.keep, .limit = wish.limit};
  return signal_process(supervisor, wish.now ? SIGINT : SIGTERM, order_value(order))
      .context("stop VM '" + record.name + "'");
}

Result<void> stop_vm(const Settings& settings, const VmRecord& record, const StopWish& wish) {
  const UniqueFd supervisor = open_process(record.supervisor);
  if (supervisor.valid()) {
    TRY(ask_to_stop(record, wish));
    const auto limit = kStopLimit + std::min(wish.limit, kMaxStopLimit);
    if (!wait_for_end(supervisor, static_cast<int>(std::chrono::milliseconds(limit).count())))
      TRY(kill_process(record.supervisor));
  }
  const Cleaned cleaned = TRY(clean_dead_vm(settings, record.name));
  if (cleaned == Cleaned::kAlive) return fail(Kind::kBusy, "VM '" + record.name + "' was made again meanwhile");
  return {};
}

}  // namespace slicer::runner
