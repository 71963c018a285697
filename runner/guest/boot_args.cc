#include "runner/guest/boot_args.h"

#include <fmt/format.h>

namespace slicer::runner {
namespace {

// The kernel splits at blanks; "ip=" inside another word ("foo.ip=") is another parameter.
bool has_parameter(std::string_view line, std::string_view key) {
  for (size_t at = line.find(key); at != std::string_view::npos; at = line.find(key, at + 1))
    if (at == 0 || line[at - 1] == ' ') return true;
  return false;
}

void add(std::string& line, std::string_view key, std::string_view value) {
  if (has_parameter(line, key)) return;
  if (!line.empty()) line += ' ';
  line += fmt::format("{}{}", key, value);
}

const cni::IpConfig* first_address(const cni::CniResult& result, int guest, addr::Family family) {
  for (const cni::IpConfig& ip : result.ips)
    if (ip.address.family() == family && (!ip.interface || *ip.interface == guest)) return &ip;
  return nullptr;
}

// The parameter takes two, IPv4 only.
std::string name_servers(const cni::Dns& dns) {
  std::string text;
  int count = 0;
  for (const std::string& server : dns.nameservers) {
    const Result<addr::Ip> ip = addr::parse_ip(server);
    if (ip && ip->is_v4() && count++ < 2) text += ":" + server;
  }
  return text;
}

std::string ipv4_parameter(const cni::IpConfig& ip, const cni::Dns& dns, const std::string& vm_name) {
  return fmt::format("{}::{}:{}:{}::off{}", ip.address.ip.text(), ip.gateway ? ip.gateway->text() : "",
                     ip.address.mask().text(), vm_name, name_servers(dns));
}

}  // namespace

std::string boot_command_line(const BootArgs& args, const cni::CniResult& result, int guest) {
  std::string line = args.image;
  add(line, "console=", args.console);
  add(line, "hostname=", args.vm_name);
  const cni::IpConfig* v4 = first_address(result, guest, addr::Family::kIpv4);
  const cni::IpConfig* v6 = first_address(result, guest, addr::Family::kIpv6);
  if (v4 != nullptr) add(line, "ip=", ipv4_parameter(*v4, result.dns, args.vm_name));
  if (v4 == nullptr && v6 == nullptr) add(line, "ip=", "dhcp");
  if (v6 != nullptr) add(line, "slicer.ip6=", v6->address.text() + (v6->gateway ? "," + v6->gateway->text() : ""));
  return line;
}

}  // namespace slicer::runner
