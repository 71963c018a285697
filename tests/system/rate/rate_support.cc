#include "tests/system/rate/rate_support.h"

#include <arpa/inet.h>
#include <sys/socket.h>

#include <cstring>
#include <utility>

namespace slicer::test::rate {
namespace {

Json base(const std::string& name, const std::string& plugin) {
  return {{"cniVersion", "1.1.0"}, {"name", name}, {"type", plugin}};
}

Json bridge_conf() {
  Json conf = base("demo", "slicer-bridge");
  conf["bridge"] = "slicer0";
  conf["isGateway"] = conf["ipMasq"] = true;
  conf["ipam"] = {{"type", "slicer-ipam"}, {"subnet", "192.0.2.0/24"}, {"routes", {{{"dst", "0.0.0.0/0"}}}}};
  return conf;
}

Json isolated_conf() { return with(base("sandbox", "slicer-isolated"), "range", "169.254.100.0/22"); }

Json macvtap_conf() {
  Json conf = base("lan", "slicer-macvtap");
  conf["parent"] = "lan0";
  conf["probe"] = false;
  conf["ipam"] = {{"type", "slicer-ipam"}, {"gateway", "198.51.100.1/24"}};
  return conf;
}

Json must_add(const Mode& mode, const Json& conf, const ::slicer::test::Call& how) {
  Answer answer = call_plugin(mode.plugin, conf, how);
  if (!answer.ok()) give_up("ADD " + how.container_id + ": " + answer.text());
  return std::move(answer.json);
}

/// The MAC that the VM sends to on its way to the LAN's machine.
std::string next_mac(const Attachment& attachment, const Surroundings& around) {
  if (attachment.mode.plugin == "slicer-macvtap")
    return Json::parse(must("ip -j link show dev lan0", around.machine.path())).at(0).at("address");
  // The bridge; of an isolated VM its own TAP is the gateway.
  return attachment.result["interfaces"][attachment.mode.plugin == "slicer-isolated" ? 1 : 0]["mac"];
}

}  // namespace

std::vector<Mode> modes() {
  return {
      {.name = "bridge, host",
       .plugin = "slicer-bridge",
       .conf = bridge_conf(),
       .in_host = true,
       .to_guest = "tap",
       .from_guest = "ifb"},
      {.name = "bridge, private",
       .plugin = "slicer-bridge",
       .conf = bridge_conf(),
       .to_guest = "tap",
       .from_guest = "slx"},
      {.name = "isolated",
       .plugin = "slicer-isolated",
       .conf = isolated_conf(),
       .to_guest = "tap",
       .from_guest = "slu"},
      {.name = "macvtap", .plugin = "slicer-macvtap", .conf = macvtap_conf(), .to_guest = "ifb", .from_guest = "tap"}};
}

Mode chained_mode() {
  return {.name = "chained",
          .plugin = "slicer-tap",
          .conf = base("demo", "slicer-tap"),
          .before = with(bridge_conf(), "device", "veth"),
          .to_guest = "tap",
          .from_guest = "followed"};
}

std::vector<Mode> all_modes() {
  std::vector<Mode> all = modes();
  all.push_back(chained_mode());
  return all;
}

Json behind(const Mode& mode, const Json& conf, const ::slicer::test::Call& how) {
  if (mode.before.is_null()) return conf;
  const Answer first = call_plugin(mode.before.at("type"), mode.before, how);
  if (!first.ok()) give_up("ADD " + how.container_id + " by the plugin before: " + first.text());
  return with(conf, "prevResult", first.json);
}

std::string why_not() {
  const Outcome tried =
      run({"unshare", "-n", "sh", "-c",
           "ip link add try type ifb && tc qdisc add dev try root tbf rate 1mbit burst 10kb limit 10kb"});
  return tried.ok() ? "" : "this kernel has no ifb or no tbf: " + tried.err;
}

Json limited(const Json& conf, const Limits& limits) {
  Json asked = Json::object();
  const auto put = [&](const char* key, uint64_t bytes) {
    if (bytes != 0) asked[key] = bytes * 8;
  };
  put("ingressRate", limits.ingress_rate);
  put("ingressBurst", limits.ingress_burst);
  put("egressRate", limits.egress_rate);
  put("egressBurst", limits.egress_burst);
  return with(conf, "runtimeConfig", {{"bandwidth", std::move(asked)}});
}

Attachment::Attachment(const Mode& mode_given, const Json& conf, const std::string& id)
    : mode(mode_given),
      box(id + "-box"),
      how({.container_id = id, .netns = mode.in_host ? Host::netns() : box.path(), .ifname = "t" + id}),
      result(must_add(mode, behind(mode, conf, how), how)) {}

Answer Attachment::call(const std::string& command, const Json& conf) const {
  ::slicer::test::Call again = how;
  again.command = command;
  return call_plugin(mode.plugin, conf, again);
}

std::string Attachment::link_of(const std::string& where) const {
  if (where == "followed") return how.ifname;
  if (where == "tap") return guest_entry(result, how.container_id).at("name");
  const std::string alias =
      "slicer:" + mode.conf.at("name").get<std::string>() + "/" + how.container_id + "/" + how.ifname;
  for (const Json& link : Json::parse(must("ip -j -d link show", netns()))) {
    const bool is_ifb = link.contains("linkinfo") && link["linkinfo"].value("info_kind", "") == "ifb";
    const std::string name = link.at("ifname");
    if (where == "ifb" ? is_ifb && link.value("ifalias", "") == alias : name.starts_with(where)) return name;
  }
  return "";
}

Machine::Machine(const Surroundings& around) {
  in_netns(around.machine.path(), [&] { socket_ = UniqueFd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)); });
  const int room = 32 << 20;
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(kPort);
  if (!socket_.valid() || setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
      setsockopt(socket_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0 ||
      bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    give_up(std::string("a socket on the LAN's machine: ") + strerror(errno));
}

size_t Machine::count(char vm) {
  char buffer[2048];
  for (;;) {
    sockaddr_in from = {};
    socklen_t size = sizeof from;
    if (recvfrom(socket_.get(), buffer, sizeof buffer, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &size) <= 0)
      return std::exchange(seen_[vm], 0);
    peer_.assign(reinterpret_cast<const char*>(&from), sizeof from);
    ++seen_[buffer[0]];
  }
}

void Machine::send(size_t datagrams, size_t bytes) {
  const std::string payload(bytes, 'm');
  sockaddr_in to = {};
  if (peer_.size() != sizeof to) give_up("nobody has sent anything yet");
  memcpy(&to, peer_.data(), sizeof to);
  for (size_t i = 0; i < datagrams; ++i)
    if (sendto(socket_.get(), payload.data(), payload.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0)
      give_up(std::string("send to the VM: ") + strerror(errno));
}

Talker::Talker(const Attachment& attachment, const Surroundings& around) : raw_(attachment.place()) {
  const std::string mac = guest_entry(attachment.result, attachment.how.container_id)["mac"];
  const std::string ip = ip_of(attachment.result, 4);
  // This VM answers no ARP.
  if (attachment.mode.plugin == "slicer-macvtap")
    (void)must("ip neigh replace " + ip + " lladdr " + mac + " dev lan0", around.machine.path());
  if (!attachment.mode.before.is_null()) (void)must("ip neigh replace " + ip + " lladdr " + mac + " dev slicer0");
  frame_ = udp_frame({.source_mac = mac,
                      .target_mac = next_mac(attachment, around),
                      .source_ip = ip,
                      .target_ip = Surroundings::kLanMachine},
                     Machine::kPort, std::string(kPayload, attachment.how.container_id[0]));
  if (frame_.size() != kFrame) give_up("a frame of " + std::to_string(frame_.size()) + " bytes");
}

void Talker::send(size_t frames) const {
  for (size_t i = 0; i < frames; ++i) raw_.send(frame_);
}

size_t Talker::count() const {
  size_t frames = 0;
  while (raw_.receive([](const Bytes& frame) { return frame.size() == kFrame; }, std::chrono::milliseconds(0)))
    ++frames;
  return frames;
}

double budget(uint64_t rate, uint64_t burst, Clock::time_point begin) {
  const std::chrono::duration<double> elapsed = Clock::now() - begin;
  return static_cast<double>(burst) + static_cast<double>(rate) * elapsed.count();
}

}  // namespace slicer::test::rate
