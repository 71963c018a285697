#include "runner/groups/yaml.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>

#include "lib/base/whole_file.h"
#include "lib/cni/environment.h"
#include "runner/groups/guest_section.h"
#include "runner/groups/network_section.h"
#include "runner/groups/section.h"
#include "runner/state/vm_files.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxFile = size_t{4} << 20;  // a policy of 100,000 entries
// libcni's cache names a file "<network>-<VM>-<interface>"; the network's and the VM's name both have the group's.
constexpr size_t kMaxGroupName = 110;
constexpr uint64_t kMaxCount = 1000;  // a bridge takes 1,023 ports (BR_MAX_PORTS)

Result<void> read_name(const Section& section, HostGroup& group) {
  group.name = TRY(section.text("name"));
  if (group.name.empty()) return section.bad("name", "is missing: a host group needs one");
  group.count = static_cast<unsigned>(TRY(section.number("count", 0, 0, kMaxCount)));
  const std::string longest = group.vm_name(std::max(group.count, 1U));
  if (group.name.size() <= kMaxGroupName && check_vm_name(longest)) return {};
  return section.bad(
      "name", fmt::format("\"{}\" with a VM's number behind it is not a DNS name", group.name),
      fmt::format("use small letters, digits and '-', 63 at most between dots with the number, {} in all",
                  kMaxGroupName));
}

Result<void> check_network_name(const Section& section, const std::string& name) {
  if (!section.has("network_name") || cni::check_network_name(name)) return {};
  return section.bad("network_name", fmt::format("\"{}\" is no name of a network", name));
}

// Public servers that any VM with a way out reaches; those of the LAN's DHCP server where that gives the addresses. An
// empty list is none.
void set_default_dns(const Section& section, HostGroup& group) {
  if (section.has("dns_servers") || group.network->uses_dhcp()) return;
  const bool ipv6 = group.network->gateway && !group.network->gateway->ip.is_v4();
  group.dns_servers = ipv6 ? std::vector<std::string>{"2001:4860:4860::8888", "2606:4700:4700::1111"}
                           : std::vector<std::string>{"8.8.8.8", "1.1.1.1"};
}

Result<void> read_network(const Section& section, HostGroup& group) {
  group.network_name = TRY(section.text("network_name", group.network_name));
  TRY(check_network_name(section, group.network_name));
  const YamlValue* value = section.find("network");
  if (value == nullptr) {
    if (group.dns_servers.empty()) return {};
    return section.bad("dns_servers", "without a section \"network\"",
                       "the network's conflist says which name servers");
  }
  if (section.has("network_name"))
    return section.bad("network_name", "and \"network\": two ways to say which network", "leave one of them out");
  const Section network = TRY(Section::open(section.file(), *value, section.path_of("network"), network_keys()));
  group.network = TRY(parse_group_network(network, group.name));
  if (group.network->uses_dhcp() && !group.dns_servers.empty())
    return section.bad("dns_servers", "where the LAN's DHCP server gives the addresses: it names the name servers too",
                       "take it out, or write a \"gateway\"");
  set_default_dns(section, group);
  if (group.count <= group.network->numbered_vms()) return {};
  return section.bad("count",
                     fmt::format("{} VMs, but \"addresses\" has only {}", group.count, group.network->addresses.size()),
                     "add addresses, or lower the count");
}

Result<HostGroup> read_group(const Section& section, const std::string& network_name) {
  HostGroup group;
  group.network_name = network_name;
  TRY(read_name(section, group));
  TRY(read_guest(section, group));
  TRY(read_network(section, group));
  if (group.jailer && group.network && group.network->mode == NetworkMode::kMacvtap)
    return section.bad("jailer", "with mode \"macvtap\": the jailer's /dev/net/tun is that of TAPs",
                       "leave it out, or use mode bridge or isolated");
  return group;
}

// Each group has its own list of what is taken, so a shared address would be given twice.
Result<void> check_pools(const Section& section, const HostGroup& group, const HostGroup& other) {
  for (const addr::IpRange& own : group.network->lan_pool())
    for (const addr::IpRange& theirs : other.network->lan_pool())
      if (own.overlaps(theirs))
        return section.bad("network",
                           fmt::format("group \"{}\" has {} too", other.name, std::max(own.first, theirs.first).text()),
                           "give each group a \"range\" of its own");
  return {};
}

// Two groups that would share what is each one's own.
Result<void> check_against(const Section& section, const HostGroup& group, const std::vector<HostGroup>& others) {
  for (const HostGroup& other : others) {
    if (other.name == group.name) return section.bad("name", fmt::format("two groups are named \"{}\"", group.name));
    for (const addr::Mac& mac : group.macs)
      if (std::ranges::find(other.macs, mac) != other.macs.end())
        return section.bad("mac", fmt::format("group \"{}\" has {} too", other.name, mac.text()));
    if (!other.network || !group.network) continue;
    TRY(check_pools(section, group, other));
    if (group.network->mode != NetworkMode::kBridge) continue;
    if (other.network->bridge == group.network->bridge)
      return section.bad("network",
                         fmt::format("group \"{}\" has the bridge \"{}\" too", other.name, group.network->bridge),
                         "give each group a bridge of its own");
    const auto& own = group.network->gateway;
    const auto& theirs = other.network->gateway;
    if (own && theirs && (own->contains(theirs->ip) || theirs->contains(own->ip)))
      return section.bad("network",
                         fmt::format("group \"{}\" has the subnet {} too", other.name, theirs->network().text()),
                         "give each group a subnet of its own");
  }
  return {};
}

Result<std::vector<HostGroup>> read_groups(const Section& config) {
  const std::string network_name = TRY(config.text("network_name", HostGroup{}.network_name));
  TRY(check_network_name(config, network_name));
  const YamlValue* list = config.find("host_groups");
  if (list == nullptr) return config.bad("host_groups", "is missing: the list of the groups");
  if (list->type != YamlValue::Type::kList)
    return config.bad("host_groups", "expected a list, got " + describe(*list), "begin each group with \"- name: …\"");
  if (list->items.empty()) return config.bad("host_groups", "is empty");
  std::vector<HostGroup> groups;
  for (const YamlValue& item : list->items) {
    const std::string path = fmt::format("{}[{}]", config.path_of("host_groups"), groups.size());
    const Section section = TRY(Section::open(config.file(), item, path, group_keys()));
    HostGroup group = TRY(read_group(section, network_name));
    TRY(check_against(section, group, groups));
    groups.push_back(std::move(group));
  }
  return groups;
}

}  // namespace

Result<HostGroups> parse_host_groups(const std::string& text, const std::string& file) {
  const YamlValue root = TRY(parse_yaml(text, file));
  const Section top = TRY(Section::open(file, root, "", file_keys()));
  const YamlValue* config = top.find("config");
  if (config == nullptr) return top.bad("config", "is missing: the whole file stands below it");
  HostGroups result;
  result.file = file;
  result.text = text;
  result.groups = TRY(read_groups(TRY(Section::open(file, *config, "config", config_keys()))));
  return result;
}

Result<HostGroups> read_host_groups(const std::string& file) {
  if (file == "-") return parse_host_groups(TRY(read_fd(STDIN_FILENO, kMaxFile).context("read stdin")), "stdin");
  HostGroups groups = TRY(parse_host_groups(TRY(read_file(file, kMaxFile)), file));
  groups.file = TRY(real_path(file));
  return groups;
}

Result<std::string> real_path(const std::string& file) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(file.c_str(), nullptr), std::free);
  if (resolved) return std::string(resolved.get());
  if (errno == ENOENT) return fail(Kind::kNotFound, "find file '" + file + "': there is none");
  return fail_errno(errno, "find file '" + file + "'");
}

bool looks_like_file(const std::string& word) {
  return word.find('/') != std::string::npos || word.ends_with(".yaml") || word.ends_with(".yml");
}

bool is_regular_file(const std::string& file) {
  struct stat info{};
  return stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode);
}

}  // namespace slicer::runner
