#include "runner/forward/forward_spec.h"

#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

namespace slicer::runner {
namespace {

constexpr const char* kForm = "write [ADDRESS:]PORT:GUESTPORT, for example 2222:22 or 0.0.0.0:8080:80";
constexpr size_t kMaxHost = 253;  // RFC 1035, section 2.3.4
constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

// At ':' outside of [brackets], which are taken off.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  bool inside = false;
  for (const char c : text) {
    if (c == '[' || c == ']') inside = c == '[';
    if (c == ':' && !inside)
      parts.emplace_back();
    else if (c != '[' && c != ']')
      parts.back() += c;
  }
  return parts;
}

std::optional<uint16_t> port_of(const std::string& text) {
  uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

bool is_guest_itself(const std::string& text) {
  constexpr std::array kNames = {"127.0.0.1", "::1", "localhost"};
  return std::ranges::find(kNames, text) != kNames.end();
}

// An address, or a name in letters, digits, '-', '_' and '.': nothing that ssh would take for an option or a port.
bool is_host(const std::string& text) {
  if (addr::parse_ip(text)) return true;
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !text.empty() && text.size() <= kMaxHost && text.front() != '-' && std::ranges::all_of(text, fits);
}

Result<uint16_t> read_port(const std::string& text, const std::string& whole, uint16_t low) {
  const std::optional<uint16_t> port = port_of(text);
  if (port && *port >= low) return *port;
  return fail(Kind::kInvalidConfig, fmt::format("'{}': \"{}\" is no port ({}-65535)", whole, text, low), kForm);
}

// Takes "/tcp" or "/udp" off the end.
Transport take_transport(std::string& text) {
  const bool udp = text.ends_with("/udp");
  if (udp || text.ends_with("/tcp")) text.resize(text.size() - 4);
  return udp ? Transport::kUdp : Transport::kTcp;
}

Result<void> take_listener(std::vector<std::string>& parts, const std::string& text, ForwardSpec& spec) {
  if (parts.front().starts_with('/')) {
    spec.listen_path = parts.front();
    parts.erase(parts.begin());
    if (spec.listen_path.size() <= kMaxPath) return {};
    return fail(Kind::kInvalidConfig, fmt::format("'{}': the socket's path has {} bytes, and may have {}", text,
                                                  spec.listen_path.size(), kMaxPath));
  }
  // A first part that is no number is an address.
  if (parts.size() > 2 && !port_of(parts.front())) {
    spec.listen = TRY(addr::parse_ip(parts.front() == "localhost" ? "127.0.0.1" : parts.front())
                          .context("'" + text + "'")
                          .hint(kForm));
    parts.erase(parts.begin());
  }
  spec.listen_port = TRY(read_port(parts.front(), text, 0));
  parts.erase(parts.begin());
  return {};
}

}  // namespace

Result<ForwardSpec> parse_forward(const std::string& text) {
  ForwardSpec spec;
  std::string rest = text;
  spec.transport = take_transport(rest);
  std::vector<std::string> parts = split(rest);
  if (parts.size() < 2) return fail(Kind::kInvalidConfig, "'" + text + "' is no port forward", kForm);
  TRY(take_listener(parts, text, spec));
  if (parts.empty() || parts.size() > 2) return fail(Kind::kInvalidConfig, "'" + text + "' is no port forward", kForm);
  if (parts.size() == 2 && is_guest_itself(parts[0])) {
    spec.loopback = parts[0];
  } else if (parts.size() == 2) {
    spec.target = parts[0];
    if (!is_host(spec.target))
      return fail(Kind::kInvalidConfig, fmt::format("'{}': \"{}\" is no host", text, spec.target),
                  "write an address or a name that the guest knows; nothing, or 127.0.0.1, for the guest itself");
  }
  spec.target_port = TRY(read_port(parts.back(), text, 1));
  if (spec.transport == Transport::kUdp && !spec.target.empty())
    return fail(Kind::kInvalidConfig, fmt::format("'{}': \"{}\" is not the guest itself", text, spec.target),
                "another host is reached by SSH, which carries no UDP");
  if (spec.transport == Transport::kUdp && !spec.listen_path.empty())
    return fail(Kind::kInvalidConfig, "'" + text + "': a unix socket leads to TCP ports only",
                "write a port in its place");
  return spec;
}

std::string endpoint_text(const addr::Ip& ip, uint16_t port) {
  return ip.is_v4() ? fmt::format("{}:{}", ip.text(), port) : fmt::format("[{}]:{}", ip.text(), port);
}

std::string ssh_target(const ForwardSpec& spec) {
  const std::string& host = spec.target.empty() ? spec.loopback : spec.target;
  const bool v6 = host.find(':') != std::string::npos;
  return fmt::format("{}:{}", v6 ? "[" + host + "]" : host, spec.target_port);
}

std::string listen_text(const ForwardSpec& spec, uint16_t port) {
  if (!spec.listen_path.empty()) return spec.listen_path;
  return endpoint_text(spec.listen, port) + (spec.transport == Transport::kUdp ? "/udp" : "");
}

cni::Json forward_json(const ForwardSpec& spec, uint16_t port) {
  cni::Json json = {{"protocol", spec.transport == Transport::kUdp ? "udp" : "tcp"},
                    {"host", spec.target},
                    {"guestPort", spec.target_port}};
  if (!spec.listen_path.empty()) {
    json["path"] = spec.listen_path;
    return json;
  }
  json["address"] = spec.listen.text();
  json["port"] = port;
  return json;
}

std::string target_text(const ForwardSpec& spec, const std::string& vm) {
  if (spec.target.empty()) return fmt::format("port {} of {}", spec.target_port, vm);
  const Result<addr::Ip> ip = addr::parse_ip(spec.target);
  return (ip ? endpoint_text(*ip, spec.target_port) : fmt::format("{}:{}", spec.target, spec.target_port)) + " by " +
         vm;
}

}  // namespace slicer::runner
