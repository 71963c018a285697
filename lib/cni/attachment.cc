#include "lib/cni/attachment.h"

#include "lib/base/hash.h"
#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "lib/cni/net_conf.h"

namespace slicer::cni {
namespace {

uint64_t hash_of(const Attachment& attachment) {
  return hash_names({attachment.network, attachment.container_id, attachment.ifname});
}

constexpr uint32_t kAttachmentBits = 16;

uint32_t network_half(const std::string& network) { return static_cast<uint32_t>(hash_names({network}) % 0x7fffU) + 1; }

std::string hexadecimal(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = text.size(); i > 0; --i, value >>= 4) text[i - 1] = "0123456789abcdef"[value & 15];
  return text;
}

}  // namespace

std::string Attachment::kernel_name(char role) const { return kernel_name_prefix(role) + base32(hash_of(*this), 8); }

std::string Attachment::kernel_name_prefix(char role) const {
  return std::string("sl") + role + base32(hash_names({network}), 4);
}

std::string Attachment::alias() const {
  constexpr size_t kLongest = 255;  // IFALIASZ (256) counts the closing zero
  constexpr size_t kHash = 17;      // '#' and 16 digits
  const std::string whole = alias_prefix() + container_id + "/" + ifname;
  if (whole.size() <= kLongest) return whole;
  return whole.substr(0, kLongest - kHash) + "#" + hexadecimal(hash_of(*this));
}

std::string Attachment::alias_prefix() const { return network_alias(network) + "/"; }

uint32_t Attachment::group() const {
  // 31 bits: iproute2 prints groups as signed numbers.
  const auto group = static_cast<uint32_t>(hash_of(*this) & 0x7fffffffU);
  return group == 0 ? 1 : group;
}

uint32_t Attachment::group_in_network() const {
  return network_half(network) << kAttachmentBits | static_cast<uint32_t>(hash_of(*this) & 0xffffU);
}

addr::Mac Attachment::guest_mac(const std::string& machine_id) const {
  return addr::local_mac(hash_names({machine_id, network, container_id}));
}

bool is_group_in_network(uint32_t group, const std::string& network) {
  return group >> kAttachmentBits == network_half(network);
}

uint32_t routed_group(const std::string& network) {
  constexpr uint32_t kOurs = 1U << 30U;  // and not the highest: group is signed in the kernel (struct net_device)
  return kOurs | (static_cast<uint32_t>(hash_names({"routed", network})) & (kOurs - 1));
}

std::string network_alias(const std::string& network) { return "slicer:" + network; }

Result<std::optional<addr::Mac>> requested_mac(const NetConf& conf, const Environment& env) {
  const Json runtime = TRY(nested_field(conf.raw, {"runtimeConfig"}));
  if (const std::string mac = TRY(string_field(runtime, "mac").context("\"runtimeConfig\"")); !mac.empty())
    return TRY(addr::parse_mac(mac).context("\"runtimeConfig\": \"mac\""));
  const Json args = TRY(nested_field(conf.raw, {"args", "cni"}));
  if (const std::string mac = TRY(string_field(args, "mac").context("\"args\": \"cni\"")); !mac.empty())
    return TRY(addr::parse_mac(mac).context("\"args\": \"cni\": \"mac\""));
  const std::optional<std::string> mac = env.arg("MAC");
  if (!mac) return std::nullopt;
  Result<addr::Mac> parsed = addr::parse_mac(*mac).context("CNI_ARGS MAC");
  if (!parsed) parsed.error().kind = Kind::kInvalidEnvironment;
  return TRY(std::move(parsed));
}

std::string machine_id() {
  Result<std::string> text = read_file("/etc/machine-id", 4096);
  if (!text) return "";
  const size_t end = text->find_last_not_of(" \t\r\n");
  return end == std::string::npos ? "" : text->substr(0, end + 1);
}

}  // namespace slicer::cni
