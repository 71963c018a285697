#include "runner/groups/template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "lib/cni/environment.h"
#include "lib/netfilter/policy.h"
#include "runner/groups/host_group.h"
#include "runner/groups/yaml.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

std::unexpected<Error> wrong_mode(const char* option, const std::string& net) {
  return fail(Kind::kInvalidConfig, fmt::format("{} has no meaning with --net={}", option, net), "leave it out");
}

Result<void> check_options(const NewGroup& wanted) {
  TRY(check_vm_name(wanted.name));
  const bool has_subnet = wanted.net == "bridge" || wanted.net == "macvtap";
  if (!wanted.cidr.empty() && !has_subnet) return wrong_mode("--cidr", wanted.net);
  if (!wanted.parent.empty() && wanted.net != "macvtap") return wrong_mode("--parent", wanted.net);
  if (!wanted.range.empty() && wanted.net == "macvtap" && wanted.cidr.empty())
    return fail(Kind::kInvalidConfig, "--range without --cidr: the LAN's DHCP server chooses the addresses",
                "name the LAN's subnet too: --cidr=192.168.1.0/24");
  if (!wanted.range.empty() && !has_subnet)
    return wrong_mode(wanted.net == "isolated" ? "--range (the blocks are chosen by --isolated-range)" : "--range",
                      wanted.net);
  if (!wanted.isolated_range.empty() && wanted.net != "isolated") return wrong_mode("--isolated-range", wanted.net);
  if (wanted.net == "cni" && !(wanted.drop.empty() && wanted.allow.empty()))
    return fail(Kind::kInvalidConfig, "--drop and --allow have no meaning with --net=cni",
                "write the lists in the network's conflist");
  for (const auto& [option, list] : {std::pair("--drop", &wanted.drop), std::pair("--allow", &wanted.allow)})
    for (const std::string& entry : *list) (void)TRY(netfilter::parse_policy_entry(entry).context(option));
  return {};
}

std::string quoted_list(const std::vector<std::string>& entries) {
  std::vector<std::string> quoted;
  for (const std::string& entry : entries) quoted.push_back('"' + entry + '"');
  return fmt::format("[{}]", fmt::join(quoted, ", "));
}

std::string head(const NewGroup& wanted) {
  return fmt::format(
      "# Boot it: slicer-run up {0}.yaml    End it: ctrl-c, or slicer-run down {0}\n"
      "# Every key: docs/host-groups.md\n"
      "config:\n  host_groups:\n    - name: {0}\n",
      wanted.name);
}

std::string count_line(const NewGroup& wanted) {
  if (wanted.count) return fmt::format("      count: {}\n", *wanted.count);
  return "      # count: 1    # VMs that `up` boots; without it none\n";
}

// "4" and "4G" are GiB, "512M" MiB.
Result<std::string> ram_line(const std::string& ram) {
  const size_t digits = ram.find_first_not_of("0123456789");
  const std::string number = ram.substr(0, digits);
  const std::string unit = digits == std::string::npos ? "G" : ram.substr(digits);
  if (!number.empty() && unit == "G") return fmt::format("      ram_gb: {}\n", number);
  if (!number.empty() && unit == "M") return fmt::format("      ram_mb: {}\n", number);
  return fail(Kind::kInvalidConfig, fmt::format("--ram: \"{}\" is no size of a memory", ram),
              "write a whole number of GiB, or one with M or G behind it: 512M");
}

// What the machine is, as far as it was said.
Result<std::string> machine_lines(const NewGroup& wanted) {
  std::string text = count_line(wanted);
  if (wanted.vcpus) text += fmt::format("      vcpu: {}\n", *wanted.vcpus);
  if (!wanted.ram.empty()) text += TRY(ram_line(wanted.ram));
  if (!wanted.hypervisor.empty()) text += fmt::format("      hypervisor: {}\n", wanted.hypervisor);
  if (!wanted.image.empty()) text += fmt::format("      image: \"{}\"\n", wanted.image);
  return text;
}

std::string lists(const NewGroup& wanted) {
  std::string text;
  if (!wanted.drop.empty()) text += fmt::format("        drop: {}\n", quoted_list(wanted.drop));
  if (!wanted.allow.empty()) text += fmt::format("        allow: {}\n", quoted_list(wanted.allow));
  return text;
}

// A VM that runs what nobody has read should not find the printer; without a list it does.
std::string lan_advice(const HostNetworks& host) {
  const std::string lan = host.lan ? host.lan->network().text() : "192.168.1.0/24";
  return fmt::format(
      "        # Without drop and allow the VMs reach your LAN: routers, printers, other machines. Take the \"#\" "
      "away\n"
      "        # below to close it{}; the internet stays open.\n"
      "        # drop: [\"{}\"]\n",
      host.lan ? " (it is the subnet of this host's default route)" : " (put your LAN's subnet in)", lan);
}

std::string isolated_text(const NewGroup& wanted, const HostNetworks& host, const std::string& machine) {
  std::string text = head(wanted) + machine + "      network:\n        mode: \"isolated\"\n";
  if (wanted.isolated_range.empty())
    text +=
        "        # The addresses come from 169.254.0.0/16, chosen by the group's name; a range of your own:\n"
        "        # range: \"169.254.100.0/22\"    # 256 blocks of 4, one for each VM\n";
  else
    text += fmt::format("        range: \"{}\"\n", wanted.isolated_range);
  return text + (wanted.drop.empty() && wanted.allow.empty() ? lan_advice(host) : lists(wanted));
}

Result<addr::Cidr> given_subnet(const NewGroup& wanted) {
  const addr::Cidr subnet = TRY(addr::parse_cidr(wanted.cidr).context("--cidr"));
  if (subnet.network() == subnet) return subnet;
  return fail(Kind::kInvalidConfig, fmt::format("--cidr: \"{}\" has host bits set", wanted.cidr),
              fmt::format("write {}", subnet.network().text()));
}

addr::Cidr first_host(const addr::Cidr& subnet) { return {.ip = subnet.first().plus(1), .prefix = subnet.prefix}; }

Result<addr::Cidr> subnet_of(const NewGroup& wanted, const HostNetworks& host) {
  if (!wanted.cidr.empty()) return given_subnet(wanted);
  if (host.free) return *host.free;
  return fail(Kind::kExhausted, "find a free subnet of 192.168.0.0/16: the host has routes to all of them",
              "name one: --cidr=10.10.10.0/24");
}

Result<std::string> bridge_text(const NewGroup& wanted, const HostNetworks& host, const std::string& machine) {
  const addr::Cidr gateway = first_host(TRY(subnet_of(wanted, host)));
  std::string text = head(wanted) + machine + "      network:\n";
  text += fmt::format("        bridge: {}\n        tap_prefix: {}\n        gateway: {}\n", default_bridge(wanted.name),
                      default_tap_prefix(wanted.name), gateway.text());
  if (!wanted.range.empty()) text += fmt::format("        range: {}\n", wanted.range);
  return text + lists(wanted);
}

Result<std::string> macvtap_text(const NewGroup& wanted, const std::string& machine) {
  std::string text = head(wanted) + machine + "      network:\n        mode: macvtap\n";
  if (wanted.parent.empty())
    text += "        # parent: eth1    # the LAN's interface; without it the one of the default route\n";
  else
    text += fmt::format("        parent: {}\n", wanted.parent);
  if (wanted.cidr.empty())
    return text + "        # The LAN's DHCP server gives the addresses; slicer-run list shows them.\n" + lists(wanted);
  text += fmt::format("        gateway: {}    # the LAN's router: mend it where that has another address\n",
                      first_host(TRY(given_subnet(wanted))).text());
  if (!wanted.range.empty()) text += fmt::format("        range: {}\n", wanted.range);
  return text + lists(wanted);
}

std::string cni_text(const NewGroup& wanted, const std::string& machine) {
  return head(wanted) + machine +
         fmt::format("  network_name: \"{}\"    # a network of /etc/cni/net.d\n", wanted.network_name);
}

Result<std::string> text_of(const NewGroup& wanted, const HostNetworks& host) {
  const std::string machine = TRY(machine_lines(wanted));
  if (wanted.net == "isolated") return isolated_text(wanted, host, machine);
  if (wanted.net == "bridge") return bridge_text(wanted, host, machine);
  if (wanted.net == "macvtap") return macvtap_text(wanted, machine);
  TRY(cni::check_network_name(wanted.network_name).context("--network"));
  return cni_text(wanted, machine);
}

}  // namespace

Result<std::string> new_group_text(const NewGroup& wanted, const HostNetworks& host) {
  TRY(check_options(wanted));
  std::string text = TRY(text_of(wanted, host));
  TRY(parse_host_groups(text, "the YAML of these options"));
  return text;
}

}  // namespace slicer::runner
