// Tries what the plugins need of the kernel, each once, in a network namespace that dies with the child process.

#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <functional>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "lib/cni/json.h"
#include "lib/net/bridge_port.h"
#include "lib/net/link.h"
#include "lib/net/macvtap.h"
#include "lib/net/netns.h"
#include "lib/net/tap.h"
#include "lib/net/tc_guard.h"
#include "lib/net/tc_redirect.h"
#include "lib/netfilter/backend.h"
#include "lib/netfilter/egress_table.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

using cni::Json;

constexpr size_t kMaxReport = size_t{1} << 16;
const addr::Mac kMac = {.bytes = {2, 0, 0x5e, 0, 0x53, 1}};
constexpr const char* kMacvtap = "sltry4";

/// The throw-away namespace and what has been made in it so far.
struct Trial {
  net::RouteSocket session;
  int bridge = 0;
  int tap = 0;
  int veth = 0;
};

Result<void> try_bridge(Trial& trial) {
  trial.bridge = TRY(net::create_bridge(trial.session, {.name = "sltry0", .mac = kMac}));
  return {};
}

Result<void> try_tap(Trial& trial) {
  trial.tap = TRY(net::create_tap(nullptr, trial.session, {.name = "sltry1", .master = trial.bridge}));
  return {};
}

Result<void> try_veth(Trial& trial) {
  trial.veth =
      TRY(net::create_veth(trial.session, {.here = {.name = "sltry2"}, .peer = {.name = "sltry3", .up = false}}));
  return {};
}

/// What cannot be told because an earlier feature is not there.
std::unexpected<Error> not_tried(std::string_view lacking) {
  return fail(Kind::kUnavailable, fmt::format("not tried: there is no {} to try it on", lacking));
}

Result<void> try_guard(Trial& trial) {
  if (trial.tap == 0) return not_tried("TAP");
  return net::ensure_guard(trial.session, trial.tap, {.mac = kMac});
}

Result<void> try_checksum(Trial& trial) {
  if (trial.tap == 0) return not_tried("TAP");
  if (TRY(net::has_checksum_filter(trial.session, trial.tap))) return {};
  return fail(Kind::kUnsupportedKernel,
              "anti-spoofing cannot see what a guest leaves to the host to finish (Linux 5.8 with CAP_BPF can)");
}

Result<void> try_redirect(Trial& trial) {
  if (trial.tap == 0) return not_tried("TAP");
  if (trial.veth == 0) return not_tried("veth");
  return net::ensure_redirect_pair(trial.session, trial.veth, trial.tap);
}

Result<void> try_netfilter(Trial&) {
  const addr::Cidr subnet{.ip = addr::Ip(addr::Family::kIpv4, 0xc0000200), .prefix = 24};  // 192.0.2.0/24 (RFC 5737)
  const auto backend = TRY(netfilter::make_backend("auto"));
  return backend->ensure({.network = "doctor",
                          .masquerade = {subnet},
                          .forward = netfilter::Forward{.bridge = "sltry0", .subnets = {subnet}},
                          .listed_bridge = "sltry0"});
}

Result<void> try_locked(Trial& trial) {
  if (trial.tap == 0) return not_tried("TAP");
  if (TRY(net::supports_locked(trial.session, trial.tap))) return {};
  return fail(Kind::kUnsupportedKernel, "bridge ports cannot be locked (Linux 5.18 can)");
}

// With the device that a hypervisor opens: its number is found in sysfs.
Result<void> try_macvtap(Trial& trial) {
  if (trial.veth == 0) return not_tried("veth");
  const net::Netns own = TRY(net::Netns::current());
  TRY(net::create_macvtap(trial.session, own, {.name = kMacvtap, .parent = trial.veth}));
  TRY(net::get_macvtap_device(own, kMacvtap));
  return {};
}

Result<void> try_egress(Trial& trial) {
  if (!TRY(net::find_link_index(trial.session, kMacvtap))) return not_tried("macvtap");
  netfilter::EgressTable table = TRY(netfilter::EgressTable::open());
  netfilter::Policy policy;
  policy.drop.push_back(TRY(netfilter::parse_policy_entry("192.0.2.0/24")));
  return table.put({.owner = {.network = "doctor", .alias = "doctor"},
                    .device = kMacvtap,
                    .policy = netfilter::compile_policy(policy)});
}

struct Feature {
  const char* check;
  const char* what;
  Result<void> (*attempt)(Trial&);
  const char* remedy;
  Level level = Level::kFail;  ///< when it does not work
};

constexpr std::array<Feature, 10> kFeatures = {{
    {"kernel.bridge", "bridges can be made", try_bridge, "modprobe bridge (CONFIG_BRIDGE)"},
    {"kernel.tap", "TAPs can be made", try_tap, "modprobe tun (CONFIG_TUN)"},
    {"kernel.veth", "veth pairs can be made", try_veth, "modprobe veth (CONFIG_VETH)"},
    {"kernel.guard", "anti-spoofing filters can be set (clsact, cls_bpf)", try_guard,
     "modprobe sch_ingress cls_bpf (CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_BPF), or \"macspoofchk\": false"},
    {"kernel.checksum", "anti-spoofing sees what a guest leaves to the host to finish (eBPF)", try_checksum,
     "Linux 5.8 and CAP_BPF (or CAP_SYS_ADMIN); without it a guest can change an ARP frame behind the filters",
     Level::kWarn},
    {"kernel.redirect", "a TAP in a private namespace can be joined to its veth (act_mirred)", try_redirect,
     "modprobe act_mirred cls_matchall (CONFIG_NET_ACT_MIRRED), or \"netns\": \"host\" in the conflist"},
    {"kernel.nftables", "nf_tables takes the networks' rules", try_netfilter,
     "modprobe nf_tables nft_masq nft_chain_nat (CONFIG_NF_TABLES, CONFIG_NFT_MASQ)"},
    {"kernel.locked", "bridge ports can be locked to the guest's MAC", try_locked,
     "nothing: the anti-spoofing filter does the same", Level::kOk},
    {"kernel.macvtap", "macvtaps can be made, and their devices found", try_macvtap,
     "modprobe macvtap (CONFIG_MACVTAP); only networks of slicer-macvtap need it", Level::kWarn},
    {"kernel.egress", "drop and allow lists can be kept on a macvtap (netdev egress hook)", try_egress,
     "Linux 5.16 with CONFIG_NETFILTER_EGRESS; only lists on networks of slicer-macvtap need it", Level::kWarn},
}};

Finding try_feature(const Feature& feature, Trial& trial) {
  const Result<void> done = feature.attempt(trial);
  if (done) return {.level = Level::kOk, .check = feature.check, .what = feature.what};
  if (done.error().kind == Kind::kUnavailable && feature.level != Level::kOk)
    return {.level = Level::kWarn,
            .check = feature.check,
            .what = done.error().message,
            .remedy = "see to what failed before it, then run doctor again"};
  return {.level = feature.level,
          .check = feature.check,
          .what = done.error().message,
          .remedy = feature.level == Level::kOk ? "" : feature.remedy};
}

Json try_features() {
  if (unshare(CLONE_NEWNET) != 0)
    return {{{"level", static_cast<int>(Level::kWarn)},
             {"check", "kernel"},
             {"what", "not tried: make a network namespace: " + errno_text(errno)},
             {"remedy", "run doctor as root"}}};
  Json report = Json::array();
  Result<net::RouteSocket> session = net::RouteSocket::open();
  if (!session)
    return {{{"level", static_cast<int>(Level::kFail)}, {"check", "kernel"}, {"what", session.error().message}}};
  Trial trial{.session = std::move(*session)};
  for (const Feature& feature : kFeatures) {
    const Finding finding = try_feature(feature, trial);
    report.push_back({{"level", static_cast<int>(finding.level)},
                      {"check", finding.check},
                      {"what", finding.what},
                      {"remedy", finding.remedy}});
  }
  return report;
}

Result<void> read_report(const Json& report, Findings& findings) {
  for (const Json& line : report) {
    Finding finding;
    finding.level = static_cast<Level>(TRY(cni::int_field(line, "level", 0)));
    finding.check = TRY(cni::string_field(line, "check"));
    finding.what = TRY(cni::string_field(line, "what"));
    finding.remedy = TRY(cni::string_field(line, "remedy"));
    findings.add(std::move(finding));
  }
  return {};
}

[[noreturn]] void report_and_exit(int pipe) {
  const std::string text = cni::dump_json(try_features());
  (void)!write(pipe, text.data(), text.size());  // the parent sees a short report
  _exit(0);
}

Result<Json> features_of_child() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return fail_errno(errno, "make a pipe");
  const UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  const pid_t child = fork();
  if (child < 0) return fail_errno(errno, "start a process");
  if (child == 0) report_and_exit(out.get());
  out.reset();
  const Result<std::string> text = read_fd(in.get(), kMaxReport);
  while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  return cni::parse_json(TRY(text));
}

}  // namespace

void check_kernel(Findings& findings) {
  const Result<Json> report = features_of_child();
  const Result<void> read = report ? read_report(*report, findings) : std::unexpected(report.error());
  if (!read) findings.fail("kernel", "try the kernel's features: " + read.error().message, "run doctor again");
}

}  // namespace slicer::runner::doctor
