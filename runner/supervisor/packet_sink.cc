#include "runner/supervisor/packet_sink.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>

#include "runner/supervisor/bounded_log.h"

namespace slicer::runner {
namespace {

using netfilter::LoggedPacket;

std::string time_text(std::time_t now) {
  tm parts{};
  std::array<char, 32> text{};
  if (gmtime_r(&now, &parts) == nullptr) return "?";
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

constexpr std::string_view kMark = "slicer:";  // netfilter::log_prefix()

/// "slicer:demo " -> "demo"
std::string network_of(std::string_view prefix) {
  if (prefix.starts_with(kMark)) prefix.remove_prefix(kMark.size());
  while (prefix.ends_with(' ')) prefix.remove_suffix(1);
  return std::string(prefix);
}

bool is_one_of(const std::optional<addr::Ip>& ip, const std::vector<addr::Ip>& addresses) {
  return ip && std::ranges::find(addresses, *ip) != addresses.end();
}

}  // namespace

PacketEnds PacketEnds::of(const VmRecord& record) {
  PacketEnds ends;
  if (const Result<addr::Mac> mac = addr::parse_mac(record.mac)) ends.mac = *mac;
  for (const std::string& address : record.addresses)
    if (const Result<addr::Cidr> cidr = addr::parse_cidr(address)) ends.addresses.push_back(cidr->ip);
  return ends;
}

bool PacketEnds::sent(const LoggedPacket& packet) const {
  return (packet.source_mac && *packet.source_mac == mac) || is_one_of(packet.source, addresses);
}

bool PacketEnds::gets(const LoggedPacket& packet) const { return is_one_of(packet.destination, addresses); }

std::optional<LoggedPacket> read_packet(std::span<const uint8_t> message) {
  Result<LoggedPacket> packet = netfilter::parse_logged_packet(message);
  if (!packet || !packet->prefix.starts_with(kMark)) return std::nullopt;
  return std::move(*packet);
}

std::string ends_text(const PacketEnds& ends) {
  std::string text = ends.mac.text();
  for (const addr::Ip& ip : ends.addresses) text += " " + ip.text();
  return text;
}

Result<PacketEnds> parse_ends(std::string_view text) {
  PacketEnds ends;
  const size_t first = std::min(text.find(' '), text.size());
  ends.mac = TRY(addr::parse_mac(text.substr(0, first)));
  text.remove_prefix(first);
  while (!text.empty()) {
    text.remove_prefix(1);
    const size_t end = std::min(text.find(' '), text.size());
    ends.addresses.push_back(TRY(addr::parse_ip(text.substr(0, end))));
    text.remove_prefix(end);
  }
  return ends;
}

std::string packet_line(const LoggedPacket& packet, const PacketEnds& ends, std::time_t now) {
  return fmt::format("{} dropped: {} the VM, {}, by the lists of network '{}'", time_text(now),
                     ends.sent(packet) ? "from" : "to", netfilter::packet_text(packet), network_of(packet.prefix));
}

bool RateLimit::take(Clock::time_point now) {
  const std::chrono::duration<double> passed = now - last_;
  last_ = now;
  tokens_ = std::min(kBurst, tokens_ + passed.count() * kPerSecond);
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

void PacketSink::take(const LoggedPacket& packet) {
  if (!limit_.take(RateLimit::Clock::now())) {
    ++left_out_;
    return;
  }
  std::string text = packet_line(packet, ends_, std::time(nullptr)) + "\n";
  if (left_out_ > 0) text.insert(0, fmt::format("… and {} more\n", std::exchange(left_out_, 0)));
  const UniqueFd log(open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!log.valid()) return;  // a full /run loses lines, not the VM
  (void)!write(log.get(), text.data(), text.size());
  bound_log(path_);
}

}  // namespace slicer::runner
