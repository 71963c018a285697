#include "tests/system/hypervisors/schema.h"

#include <array>
#include <cctype>
#include <span>

namespace slicer::test {
namespace {

using cni::Json;

enum class Type { kString, kInteger, kBool, kObject, kArray };

struct Field {
  std::string_view name;
  Type type;
  bool required = false;
};

bool has_type(const Json& value, Type type) {
  switch (type) {
    case Type::kString:
      return value.is_string();
    case Type::kInteger:
      return value.is_number_integer();
    case Type::kBool:
      return value.is_boolean();
    case Type::kObject:
      return value.is_object();
    case Type::kArray:
      return value.is_array();
  }
  return false;
}

std::string check(const Json& object, std::string_view where, std::span<const Field> fields) {
  if (!object.is_object()) return std::string(where) + " is no object";
  for (const Field& field : fields) {
    const auto found = object.find(field.name);
    if (found == object.end() && field.required)
      return "missing field `" + std::string(field.name) + "` in " + std::string(where);
    if (found != object.end() && !has_type(*found, field.type))
      return "invalid type of `" + std::string(field.name) + "` in " + std::string(where);
  }
  for (const auto& [key, value] : object.items()) {
    bool known = false;
    for (const Field& field : fields) known = known || field.name == key;
    if (!known) return "unknown field `" + key + "` in " + std::string(where);
  }
  return {};
}

constexpr std::array kTop = {
    Field{"balloon", Type::kObject},    Field{"drives", Type::kArray, true}, Field{"boot-source", Type::kObject, true},
    Field{"cpu-config", Type::kString}, Field{"logger", Type::kObject},      Field{"machine-config", Type::kObject},
    Field{"metrics", Type::kObject},    Field{"mmds-config", Type::kObject}, Field{"network-interfaces", Type::kArray},
    Field{"vsock", Type::kObject},      Field{"entropy", Type::kObject}};
constexpr std::array kBoot = {Field{"kernel_image_path", Type::kString, true}, Field{"initrd_path", Type::kString},
                              Field{"boot_args", Type::kString}};
constexpr std::array kMachine = {Field{"vcpu_count", Type::kInteger, true},
                                 Field{"mem_size_mib", Type::kInteger, true},
                                 Field{"smt", Type::kBool},
                                 Field{"cpu_template", Type::kString},
                                 Field{"track_dirty_pages", Type::kBool},
                                 Field{"huge_pages", Type::kString}};
constexpr std::array kDrive = {Field{"drive_id", Type::kString, true},   Field{"is_root_device", Type::kBool, true},
                               Field{"partuuid", Type::kString},         Field{"cache_type", Type::kString},
                               Field{"is_read_only", Type::kBool, true}, Field{"path_on_host", Type::kString, true},
                               Field{"rate_limiter", Type::kObject},     Field{"io_engine", Type::kString}};
constexpr std::array kInterface = {Field{"iface_id", Type::kString, true},  Field{"host_dev_name", Type::kString, true},
                                   Field{"guest_mac", Type::kString},       Field{"rx_rate_limiter", Type::kObject},
                                   Field{"tx_rate_limiter", Type::kObject}, Field{"mtu", Type::kInteger}};
constexpr std::array kLimiter = {Field{"bandwidth", Type::kObject}, Field{"ops", Type::kObject}};
constexpr std::array kBucket = {Field{"size", Type::kInteger, true}, Field{"refill_time", Type::kInteger, true},
                                Field{"one_time_burst", Type::kInteger}};
constexpr std::array kVsock = {Field{"guest_cid", Type::kInteger, true}, Field{"uds_path", Type::kString, true},
                               Field{"vsock_id", Type::kString}};
constexpr std::array kEntropy = {Field{"rate_limiter", Type::kObject}};

std::string check_limiter(const Json& object, std::string_view key) {
  const auto found = object.find(key);
  if (found == object.end()) return {};
  if (std::string bad = check(*found, key, kLimiter); !bad.empty()) return bad;
  for (const auto& [name, bucket] : found->items())
    if (std::string bad = check(bucket, name, kBucket); !bad.empty()) return bad;
  return {};
}

std::string check_drive(const Json& drive) {
  if (std::string bad = check(drive, "drive", kDrive); !bad.empty()) return bad;
  const std::string cache = drive.value("cache_type", "Unsafe");
  if (cache != "Unsafe" && cache != "Writeback") return "unknown variant `" + cache + "` in drive";
  for (const char c : drive["drive_id"].get<std::string>())
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '_') return "invalid drive_id";
  return check_limiter(drive, "rate_limiter");
}

std::string check_interface(const Json& interface, unsigned minor_version) {
  if (std::string bad = check(interface, "network-interface", kInterface); !bad.empty()) return bad;
  if (interface.contains("mtu") && minor_version < 16) return "unknown field `mtu` in network-interface";
  for (const char* key : {"rx_rate_limiter", "tx_rate_limiter"})
    if (std::string bad = check_limiter(interface, key); !bad.empty()) return bad;
  return {};
}

std::string check_machine(const Json& machine) {
  if (std::string bad = check(machine, "machine-config", kMachine); !bad.empty()) return bad;
  const int vcpus = machine["vcpu_count"].get<int>();
  if (vcpus < 1 || vcpus > 32) return "invalid vcpu_count";
  return machine["mem_size_mib"].get<int>() < 1 ? "invalid mem_size_mib" : "";
}

}  // namespace

std::string check_firecracker_config(const Json& config, unsigned minor_version) {
  if (std::string bad = check(config, "configuration", kTop); !bad.empty()) return bad;
  if (std::string bad = check(config["boot-source"], "boot-source", kBoot); !bad.empty()) return bad;
  if (config.contains("machine-config"))
    if (std::string bad = check_machine(config["machine-config"]); !bad.empty()) return bad;
  if (config.contains("entropy"))
    if (std::string bad = check(config["entropy"], "entropy", kEntropy); !bad.empty()) return bad;
  if (config.contains("vsock")) {
    if (std::string bad = check(config["vsock"], "vsock", kVsock); !bad.empty()) return bad;
    if (config["vsock"]["guest_cid"].get<int64_t>() < 3) return "invalid guest_cid";
  }
  for (const Json& drive : config["drives"])
    if (std::string bad = check_drive(drive); !bad.empty()) return bad;
  for (const Json& interface : config.value("network-interfaces", Json::array()))
    if (std::string bad = check_interface(interface, minor_version); !bad.empty()) return bad;
  return {};
}

std::string option_value(const std::string& text, std::string_view key) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    if (part.starts_with(key) && part.substr(key.size()).starts_with('='))
      return std::string(part.substr(key.size() + 1));
    at = end + 1;
  }
  return {};
}

std::string check_option(const std::string& text, const std::vector<OptionKey>& keys) {
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view part = std::string_view(text).substr(at, end - at);
    bool known = false;
    for (const OptionKey& key : keys)
      known = known || (part.starts_with(key.name) && part.substr(key.name.size()).starts_with('='));
    if (!known) return "unknown option: " + std::string(part);
    at = end + 1;
  }
  for (const OptionKey& key : keys)
    if (key.required && option_value(text, key.name).empty()) return "missing option: " + std::string(key.name);
  return {};
}

}  // namespace slicer::test
