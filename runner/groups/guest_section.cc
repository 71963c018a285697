#include "runner/groups/guest_section.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "runner/groups/quantity.h"
#include "runner/state/storage_size.h"

namespace slicer::runner {
namespace {

constexpr uint64_t kMaxVcpus = 255;
constexpr uint64_t kMinRamMib = 16;
constexpr uint64_t kMaxRamMib = uint64_t{16} << 20;
constexpr std::array<std::string_view, 3> kHypervisors = {"qemu", "firecracker", "cloud-hypervisor"};
// A packet of QEMU is up to 64 KiB long; the kernel's token bucket passes none that is larger than the burst.
constexpr uint64_t kMinBurst = uint64_t{1} << 20;
constexpr uint64_t kMaxBurst = (uint64_t{1} << 35) - 1;  // 4 GiB in bits: the limit of upstream's plugin

// The library's error with the place before it.
template <class T>
Result<T> at(const Section& section, const PlacedText& text, Result<T> result) {
  if (result) return result;
  return section.bad(text, result.error().message, result.error().hint);
}

Result<void> read_memory(const Section& section, HostGroup& group) {
  if (section.has("ram_gb") && section.has("ram_mb"))
    return section.bad("ram_mb", "and \"ram_gb\": two ways to say how much memory", "leave one of them out");
  const uint64_t gib = TRY(section.number("ram_gb", 0, 1, kMaxRamMib >> 10));
  const uint64_t mib = TRY(section.number("ram_mb", group.ram_mib, kMinRamMib, kMaxRamMib));
  group.ram_mib = static_cast<unsigned>(gib != 0 ? gib << 10 : mib);
  return {};
}

Result<void> read_jailer(const Section& section, HostGroup& group) {
  group.jailer = TRY(section.truth("jailer", false));
  if (!group.jailer || group.hypervisor == "firecracker") return {};
  return section.bad("jailer", fmt::format("is Firecracker's: {} has none", group.hypervisor),
                     "leave it out, or write hypervisor: firecracker");
}

Result<void> read_image(const Section& section, HostGroup& group) {
  group.image = TRY(section.text("image"));
  if (group.image.empty() || group.image.front() == '/') return {};
  return section.bad("image", fmt::format("\"{}\" is no absolute path", group.image),
                     "the folder with kernel, initrd, disk and cmdline, or the YAML file that names them, from '/' on");
}

Result<void> read_macs(const Section& section, HostGroup& group) {
  const YamlValue* value = section.find("mac");
  for (const PlacedText& text : TRY(section.text_or_texts("mac"))) {
    const addr::Mac mac = TRY(at(section, text, addr::parse_mac(text.text)));
    if (std::ranges::find(group.macs, mac) != group.macs.end())
      return section.bad(text, fmt::format("{} is there twice", mac.text()));
    group.macs.push_back(mac);
  }
  if (group.macs.empty() || group.count <= group.macs.size()) return {};
  return section.bad(
      "mac", fmt::format("{} VMs, but only {} here", group.count, group.macs.size()),
      value->type == YamlValue::Type::kScalar ? "write a list: VM n gets the n-th" : "add some, or lower the count");
}

Result<uint64_t> read_bits(const Section& section, const char* key) {
  const auto text = TRY(section.placed_text(key));
  if (!text) return uint64_t{0};
  const uint64_t bits = TRY(at(section, *text, parse_bits(text->text)));
  if (bits == 0) return section.bad(*text, "0 would let nothing through", "leave the key out for no limit");
  return bits;
}

// A tenth of a second of the rate, unless it is given: upstream's plugin knows no default.
Result<uint64_t> read_burst(const Section& section, const char* key, const char* rate_key, uint64_t rate) {
  const uint64_t given = TRY(read_bits(section, key));
  if (given != 0 && rate == 0)
    return section.bad(key, fmt::format("without \"{}\"", rate_key), "write the rate that it belongs to");
  if (given > kMaxBurst) return section.bad(key, fmt::format("{} is more than 4 GiB", given));
  if (given != 0 || rate == 0) return given;
  return std::clamp(rate / 10, kMinBurst, kMaxBurst);
}

Result<void> read_bandwidth(const Section& section, HostGroup& group) {
  const YamlValue* value = section.find("bandwidth");
  if (value == nullptr) return {};
  const Section limits = TRY(Section::open(section.file(), *value, section.path_of("bandwidth"), bandwidth_keys()));
  Bandwidth bandwidth;
  bandwidth.ingress_rate = TRY(read_bits(limits, "ingress"));
  bandwidth.egress_rate = TRY(read_bits(limits, "egress"));
  bandwidth.ingress_burst = TRY(read_burst(limits, "ingress_burst", "ingress", bandwidth.ingress_rate));
  bandwidth.egress_burst = TRY(read_burst(limits, "egress_burst", "egress", bandwidth.egress_rate));
  if (bandwidth == Bandwidth{})
    return section.bad("bandwidth", "limits nothing", "write ingress: 100M, egress: 100M, or both");
  group.bandwidth = bandwidth;
  return {};
}

Result<void> read_storage(const Section& section, HostGroup& group) {
  const auto text = TRY(section.placed_text("storage"));
  if (!text) return {};
  group.storage_bytes = TRY(at(section, *text, parse_storage_size(text->text)));
  return {};
}

// RFC 4253, section 6.6, in the line of sshd(8)'s authorized_keys; options before the type are not for a guest's owner
// to leave out, so they are taken too. That a file or an address is meant can only be a mistake: nothing is fetched.
Result<void> check_ssh_key(const Section& section, const PlacedText& key) {
  const std::string& text = key.text;
  if (text.starts_with('/') || text.starts_with("~") || text.find("://") < text.find(' '))
    return section.bad(key, fmt::format("\"{}\" is a place where a key is, not the key", text),
                       "write the public key itself: \"ssh-ed25519 AAAA… name\"");
  if (text.find("PRIVATE KEY") != std::string::npos)
    return section.bad(key, "is a private key", "write the public half, of the file that ends in .pub");
  if (text.find('\n') != std::string::npos && text.find('\n') + 1 != text.size())
    return section.bad(key, "has several lines", "write each key as an item of its own");
  // Every kind's data begins with the length of its name, which is small: three zero bytes are "AAAA" in base64.
  const bool has_type = text.find("ssh-") != std::string::npos || text.find("ecdsa-sha2-") != std::string::npos;
  if (has_type && text.find(" AAAA") != std::string::npos) return {};
  return section.bad(key, "is no public key of OpenSSH", "write a line of a .pub file: \"ssh-ed25519 AAAA… name\"");
}

Result<void> read_ssh_keys(const Section& section, HostGroup& group) {
  for (PlacedText& key : TRY(section.texts("ssh_keys"))) {
    TRY(check_ssh_key(section, key));
    while (key.text.ends_with('\n')) key.text.pop_back();
    group.ssh_keys.push_back(std::move(key.text));
  }
  return {};
}

// cloud-init passes over what begins like none of its formats, so a slip there would only be seen in the guest.
// https://docs.cloud-init.io/en/latest/explanation/format.html
Result<void> read_userdata(const Section& section, HostGroup& group) {
  group.userdata = TRY(section.text("userdata"));
  const std::string& text = group.userdata;
  if (text.empty() || text.starts_with("#") || text.starts_with("Content-Type:") || text.starts_with("MIME-Version:"))
    return {};
  return section.bad("userdata",
                     fmt::format("begins with \"{}\"", text.substr(0, std::min<size_t>(text.find('\n'), 40))),
                     "begin it with #cloud-config, or with #!/bin/sh for a script");
}

}  // namespace

Result<void> read_guest(const Section& section, HostGroup& group) {
  group.vcpus = static_cast<unsigned>(TRY(section.number("vcpu", group.vcpus, 1, kMaxVcpus)));
  TRY(read_memory(section, group));
  group.hypervisor = TRY(section.word("hypervisor", kHypervisors, group.hypervisor));
  TRY(read_jailer(section, group));
  TRY(read_image(section, group));
  group.restart = restart_policy(TRY(section.word("restart", kRestartWords, "no")));
  TRY(read_macs(section, group));
  TRY(read_bandwidth(section, group));
  TRY(read_storage(section, group));
  for (PlacedText& server : TRY(section.texts("dns_servers"))) {
    if (const auto ip = addr::parse_ip(server.text); !ip) return section.bad(server, ip.error().message);
    group.dns_servers.push_back(std::move(server.text));
  }
  TRY(read_ssh_keys(section, group));
  return read_userdata(section, group);
}

}  // namespace slicer::runner
