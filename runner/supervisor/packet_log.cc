#include "runner/supervisor/packet_log.h"

#include <algorithm>
#include <utility>

#include "lib/base/log.h"
#include "lib/net/netns.h"
#include "lib/netfilter/packet_log.h"
#include "lib/netfilter/ruleset.h"
#include "runner/state/vm_files.h"
#include "runner/supervisor/packet_share.h"
#include "runner/supervisor/packet_sink.h"

namespace slicer::runner {
namespace {

class OwnPackets final : public SideTask {
 public:
  OwnPackets(netfilter::PacketLog log, PacketSink sink) : log_(std::move(log)), sink_(std::move(sink)) {}

  [[nodiscard]] int fd() const override { return log_.fd(); }
  void on_readable() override {
    log_.read([&](std::span<const uint8_t> message) {
      if (const auto packet = read_packet(message)) sink_.take(*packet);
    });
  }

 private:
  netfilter::PacketLog log_;
  PacketSink sink_;
};

PacketSink sink_of(const Settings& settings, const VmRecord& record) {
  return {vm_files(settings, record.name).packet_log, PacketEnds::of(record)};
}

/// The main plugins whose attachments have their rules in the sandbox.
bool has_own_rules(const chain::Conflist& network) {
  const std::string& main = network.plugins.front().type;
  return main == "slicer-isolated" || main == "slicer-macvtap";
}

}  // namespace

bool may_log_packets(const chain::Conflist& network) {
  return std::ranges::any_of(network.plugins, [](const auto& plugin) { return plugin.type == "slicer-firewall"; });
}

Result<std::unique_ptr<SideTask>> read_own_packets(const Settings& settings, const VmRecord& record) {
  const net::Netns sandbox = TRY(net::Netns::open(record.netns));
  const net::ScopedNetns inside = TRY(net::ScopedNetns::enter(sandbox));
  return std::make_unique<OwnPackets>(TRY(netfilter::PacketLog::open(netfilter::kLogGroup)), sink_of(settings, record));
}

std::unique_ptr<SideTask> share_host_packets(const Settings& settings, const VmRecord& record) {
  return std::make_unique<SharedPackets>(settings.state_dir, sink_of(settings, record));
}

std::unique_ptr<SideTask> make_packet_log(const Settings& settings, const chain::Conflist& network,
                                          const VmRecord& record) {
  if (!may_log_packets(network)) return nullptr;
  if (!has_own_rules(network)) return share_host_packets(settings, record);
  Result<std::unique_ptr<SideTask>> own = read_own_packets(settings, record);
  if (own) return std::move(*own);
  log_line(own.error().message + "; what is dropped will not be told, ignoring");
  return nullptr;
}

}  // namespace slicer::runner
