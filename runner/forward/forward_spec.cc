#include "runner/forward/forward_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <vector>

namespace slicer::runner {
namespace {

constexpr const char* kForm = "write [ADDRESS:]PORT:GUESTPORT, for example 2222:22 or 0.0.0.0:8080:80";

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

Result<uint16_t> read_port(const std::string& text, const std::string& whole, uint16_t low) {
  const std::optional<uint16_t> port = port_of(text);
  if (port && *port >= low) return *port;
  return fail(Kind::kInvalidConfig, fmt::format("'{}': \"{}\" is no port ({}-65535)", whole, text, low), kForm);
}

}  // namespace

Result<ForwardSpec> parse_forward(const std::string& text) {
  std::vector<std::string> parts = split(text);
  ForwardSpec spec;
  // A first part that is no number is an address; what then stands between two ports is the guest.
  if (parts.size() > 2 && !port_of(parts.front())) {
    spec.listen = TRY(addr::parse_ip(parts.front() == "localhost" ? "127.0.0.1" : parts.front())
                          .context("'" + text + "'")
                          .hint(kForm));
    parts.erase(parts.begin());
  }
  if (parts.size() == 3) {
    if (!is_guest_itself(parts[1]))
      return fail(Kind::kInvalidConfig, fmt::format("'{}': \"{}\" is not the guest itself", text, parts[1]),
                  "only ports of the guest can be forwarded: leave it out, or write 127.0.0.1");
    parts.erase(parts.begin() + 1);
  }
  if (parts.size() != 2) return fail(Kind::kInvalidConfig, "'" + text + "' is no port forward", kForm);
  spec.listen_port = TRY(read_port(parts[0], text, 0));
  spec.guest_port = TRY(read_port(parts[1], text, 1));
  return spec;
}

std::string endpoint_text(const addr::Ip& ip, uint16_t port) {
  return ip.is_v4() ? fmt::format("{}:{}", ip.text(), port) : fmt::format("[{}]:{}", ip.text(), port);
}

}  // namespace slicer::runner
