#include "lib/cni/net_conf.h"

#include "lib/base/log.h"
#include "lib/cni/fields.h"
#include "lib/cni/result_versions.h"

namespace slicer::cni {
namespace {

Result<std::vector<ValidAttachment>> parse_attachments(const Json& list, const char* key) {
  if (!list.is_array()) return fail(Kind::kInvalidConfig, "\"" + std::string(key) + "\": expected a list");
  std::vector<ValidAttachment> attachments;
  for (const Json& item : list) {
    const std::string where = "\"" + std::string(key) + "\"[" + std::to_string(attachments.size()) + "]";
    ValidAttachment entry;
    entry.container_id = TRY(string_field(item, "containerID").context(where));
    entry.ifname = TRY(string_field(item, "ifname").context(where));
    // An entry that protects nothing would let GC remove what it was meant to protect.
    if (entry.container_id.empty() || entry.ifname.empty())
      return fail(Kind::kInvalidConfig, where + ": expected \"containerID\" and \"ifname\"");
    attachments.push_back(std::move(entry));
  }
  return attachments;
}

// libcni sends both names (cni#1101); the specification's wins.
Result<std::optional<std::vector<ValidAttachment>>> find_attachments(const Json& json) {
  for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
    const auto found = json.find(key);
    if (found != json.end() && !found->is_null()) return TRY(parse_attachments(*found, key));
  }
  return std::nullopt;
}

Result<std::optional<CniResult>> find_prev_result(const Json& json, const std::string& version) {
  const auto found = json.find("prevResult");
  if (found == json.end() || found->is_null()) return std::nullopt;
  return TRY(parse_result(*found, version).context("\"prevResult\""));
}

}  // namespace

std::string declared_version(const Json& json) {
  if (!json.is_object()) return "";
  const auto found = json.find("cniVersion");
  if (found == json.end() || found->is_null() || *found == "") return "0.1.0";  // libcni's version/plugin.go
  return found->is_string() ? found->get<std::string>() : "";
}

Result<NetConf> read_net_conf(Json json, Command command) {
  if (!json.is_object())
    return fail(Kind::kDecode, "read configuration: expected a JSON object",
                "send the plugin's configuration on stdin");
  NetConf conf;
  conf.name = TRY(string_field(json, "name"));
  TRY(check_network_name(conf.name));
  TRY(string_field(json, "cniVersion"));  // names the key when it is no string
  conf.cni_version = declared_version(json);
  TRY(check_version(conf.cni_version));
  conf.type = TRY(string_field(json, "type"));
  conf.ipam_type = TRY(string_field(TRY(object_field(json, "ipam")), "type").context("\"ipam\""));
  Result<std::optional<CniResult>> prev_result = find_prev_result(json, conf.cni_version);
  if (prev_result) {
    conf.prev_result = std::move(*prev_result);
  } else if (command == Command::kDel || command == Command::kGc) {
    log_line(prev_result.error().message +
             ", ignoring");  // cleaning up works without it, and must not be blocked by it
  } else {
    return std::unexpected(std::move(prev_result).error());
  }
  conf.valid_attachments = TRY(find_attachments(json));
  conf.raw = std::move(json);
  return conf;
}

Result<NetConf> parse_net_conf(std::string_view text) {
  return read_net_conf(TRY(parse_json(text).context("read configuration")), Command::kAdd);
}

}  // namespace slicer::cni
