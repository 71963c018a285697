#include "runner/supervisor/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
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
#include "lib/net/netns.h"
#include "runner/guest/boot_args.h"
#include "runner/guest/seed.h"
#include "runner/hypervisor/accelerator.h"
#include "runner/hypervisor/jailer.h"
#include "runner/process/unix_socket.h"
#include "runner/state/epitaph.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/address_watch.h"
#include "runner/supervisor/attachment.h"
#include "runner/supervisor/bounded_log.h"
#include "runner/supervisor/cleanup.h"
#include "runner/supervisor/console_broker.h"
#include "runner/supervisor/kept_run.h"
#include "runner/supervisor/nic_limits.h"
#include "runner/supervisor/packet_log.h"
#include "runner/supervisor/report.h"
#include "runner/supervisor/side_task.h"
#include "runner/supervisor/system_user.h"
#include "runner/supervisor/watch.h"

namespace slicer::runner {
namespace {

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

/// What a machine is made of: once for each boot of the guest.
struct Parts {
  cni::CniResult result = {};
  VmInterface interface = {};
  VmLink link;
  SystemUser user = {};
};

// A guest that is reset again and again so soon after its boot gets nowhere (a kernel without its root file system).
constexpr std::chrono::seconds kQuickReset{30};
constexpr int kMaxQuickResets = 5;

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
    do {
      watch_vm(*hypervisor_, *signals_, tasks_, [this](const StopOrder& order) { begin_end(order); });
      note_reason();
    } while (boot_again());
    enter(Phase::kStopping);
    tell_why();
    for (const auto& task : tasks_) task->on_end();
    hypervisor_.reset();
    parts_.reset();
    tasks_.clear();  // a socket of theirs would keep the VM's namespace
    return end();
  }

 private:
  Result<void> start(int report) {
    TRY(leave_caller(lock_.fd(), report));
    signals_.emplace(TRY(Signals::block()));
    const SystemUser user = TRY(hypervisor_user());
    definition_ = TRY(take_up_kept(settings_, request_));
    TRY(fill_record(user));
    TRY(save_record(settings_, record_));
    disks_ = TRY(find_disks(settings_, request_.boot, definition_));  // what is wrong there is wrong at once
    cni::CniResult result = TRY(attach_as_before(settings_, request_.network, definition_, record_));
    if (!definition_.dns_servers.empty()) result.dns.nameservers = definition_.dns_servers;
    const VmInterface interface = TRY(vm_interface(result, record_));
    remember(result, interface);
    VmLink link = TRY(find_link(interface));
    parts_.emplace(Parts{.result = result, .interface = interface, .link = std::move(link), .user = user});
    watch_addresses_of(parts_->link);  // before the guest says its first word
    if (auto packets = make_packet_log(settings_, request_.network, record_)) tasks_.push_back(std::move(packets));
    TRY(boot(TRY(make_console())));
    TRY(keep_running());
    enter(Phase::kRunning);
    return {};
  }

  // `line`: the guest's end of its serial line.
  Result<void> boot(UniqueFd line) {
    Machine machine = TRY(make_machine(std::move(line)));
    hypervisor_ = TRY(make_hypervisor(definition_.hypervisor));
    booted_ = SideTask::Clock::now();
    TRY(hypervisor_->start(std::move(machine)));
    record_.hypervisor = hypervisor_->process();
    return {};
  }

  // A guest that reboots gets the same machine again, on the network that it has; the console's viewers stay. The
  // hypervisor ends at a reset (-no-reboot), so that one which gets nowhere is seen.
  bool boot_again() {
    if (reason_ != EndReason::kReset) return false;
    quick_resets_ = SideTask::Clock::now() - booted_ < kQuickReset ? quick_resets_ + 1 : 0;
    if (quick_resets_ == kMaxQuickResets) {
      log_line(fmt::format("the guest was reset {} times soon after its boot: it is given up", kMaxQuickResets));
      return false;
    }
    hypervisor_.reset();
    Result<UniqueFd> line = renew_line();
    const Result<void> booted = line ? boot(std::move(*line)) : std::unexpected(line.error());
    save();
    if (booted) return true;
    log_line("boot the guest again: " + booted.error().message);
    reason_ = EndReason::kFailed;
    return false;
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
      // tc-redirect-tap lists the container's interface with the same addresses.
      if (ip.interface && *ip.interface != interface.guest_index) continue;
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

  Result<Machine> make_machine(UniqueFd line) const {
    const auto& [result, interface, link, user] = *parts_;
    const HypervisorKind& kind = *TRY(find_hypervisor_kind(definition_.hypervisor));
    Machine machine;
    machine.name = request_.name;
    machine.folder = files_.folder;
    machine.program = request_.program;
    machine.boot = request_.boot;
    machine.boot.cmdline =
        boot_command_line({.image = request_.boot.cmdline, .vm_name = request_.name, .console = kind.console}, result,
                          interface.guest_index);
    machine.disks = disks_;
    machine.disks.push_back(TRY(make_seed(result, interface, link)));
    machine.vcpus = definition_.vcpus;
    machine.ram_mib = definition_.ram_mib;
    machine.accelerator = request_.accelerator;
    if (!machine.program.jailer.empty()) TRY(check_jailable(link.tap));
    machine.nic = TRY(hand_over(kind, link.sandbox, link.tap));
    machine.nic.mac = interface.guest.mac;
    // Not twice: a plugin that takes the capability has limited the device already.
    if (!chain::takes_capability(request_.network, "bandwidth")) machine.limits = limits_of(record_.capability_args);
    machine.console = std::move(line);
    machine.log = files_.hypervisor_log;
    machine.uid = user.uid;
    machine.gid = user.gid;
    return machine;
  }

  // The guest's end of its serial line; the broker has the other.
  Result<UniqueFd> make_console() {
    UniqueFd listener = TRY(listen_on(files_.console_socket));
    std::unique_ptr<ConsoleBroker> broker = TRY(ConsoleBroker::create(std::move(listener), files_.console_log));
    console_ = broker.get();
    tasks_.push_back(std::move(broker));
    return renew_line();
  }

  [[nodiscard]] Result<UniqueFd> renew_line() const {
    return console_->renew_line(TRY(find_hypervisor_kind(definition_.hypervisor))->line);
  }

  // Anew at each start: its addresses may be others. Behind the VM's own disks, which keep their names.
  Result<Disk> make_seed(const cni::CniResult& result, const VmInterface& interface, const VmLink& link) const {
    SeedSpec spec;
    spec.vm_name = record_.name;
    spec.guest_mac = interface.guest.mac;
    spec.mtu_bytes = link.tap.mtu_bytes;
    spec.ssh_keys = definition_.ssh_keys;
    if (!request_.runner_key.empty()) spec.ssh_keys.insert(spec.ssh_keys.begin(), request_.runner_key);
    spec.userdata = definition_.userdata;
    Disk disk;
    disk.path = files_.seed;
    disk.read_only = true;
    disk.ours = true;
    TRY(write_seed(seed_files(spec, result, interface.guest_index), disk.path)
            .context("give VM '" + record_.name + "' a seed"));
    return disk;
  }

  // Only a failed start comes here: the error says what remains, should the way back fail too.
  void take_back(Result<void>& started) {
    hypervisor_.reset();
    parts_.reset();
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

  // The hypervisor is not reaped yet, so it can still be asked how it ended.
  void note_reason() {
    siginfo_t end{};
    const bool known = waitid(P_PIDFD, static_cast<id_t>(hypervisor_->pidfd()), &end, WEXITED | WNOHANG | WNOWAIT) == 0;
    const bool in_order = known && end.si_code == CLD_EXITED && end.si_status == 0;
    reason_ = EndReason::kAsked;
    if (!asked_)
      reason_ = !in_order ? EndReason::kFailed : hypervisor_->was_reset() ? EndReason::kReset : EndReason::kGuest;
  }

  // For whoever keeps the VM's group.
  void tell_why() {
    const Result<void> left =
        leave_epitaph(settings_, record_.group, record_.name, {.supervisor = record_.supervisor, .reason = reason_});
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
  EndReason reason_ = EndReason::kFailed;
  std::vector<Disk> disks_ = {};
  std::optional<Signals> signals_ = {};
  std::unique_ptr<Hypervisor> hypervisor_ = {};
  std::optional<Parts> parts_ = {};
  SideTask::Clock::time_point booted_ = {};
  int quick_resets_ = 0;
  std::vector<std::unique_ptr<SideTask>> tasks_ = {};
  ConsoleBroker* console_ = nullptr;  ///< one of the tasks
};

// By who asks, since he can be told: where nothing can be written (a full disk) the VM must not end, it would be gone.
Result<void> ensure_kept(const Settings& settings, const VmRecord& record) {
  if (TRY(find_definition(settings, record.name))) return {};
  VmDefinition vm = TRY(definition_of(record));
  vm.stopped = true;
  Result<void> saved = save_definition(settings, vm).context("keep VM '" + record.name + "'");
  if (!saved) saved.error().hint = "make room there, or give the VM up: slicer-run vm rm " + record.name;
  return saved;
}

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

Result<void> ask_to_stop(const Settings& settings, const VmRecord& record, const StopWish& wish) {
  const UniqueFd supervisor = open_process(record.supervisor);
  if (!supervisor.valid()) return {};
  if (wish.keep) TRY(ensure_kept(settings, record));
  const StopOrder order{.keep = wish.keep, .limit = wish.limit};
  return signal_process(supervisor, wish.now ? SIGINT : SIGTERM, order_value(order))
      .context("stop VM '" + record.name + "'");
}

Result<void> stop_vm(const Settings& settings, const VmRecord& record, const StopWish& wish) {
  const UniqueFd supervisor = open_process(record.supervisor);
  if (supervisor.valid()) {
    TRY(ask_to_stop(settings, record, wish));
    const auto limit = kStopLimit + std::min(wish.limit, kMaxStopLimit);
    if (!wait_for_end(supervisor, static_cast<int>(std::chrono::milliseconds(limit).count())))
      TRY(kill_process(record.supervisor));
  }
  const Cleaned cleaned = TRY(clean_dead_vm(settings, record.name));
  if (cleaned == Cleaned::kAlive) return fail(Kind::kBusy, "VM '" + record.name + "' was made again meanwhile");
  return {};
}

}  // namespace slicer::runner
