#include "runner/chain/runtime.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <string_view>

#include "lib/base/log.h"
#include "lib/cni/delegate.h"
#include "lib/cni/exec.h"
#include "lib/cni/fields.h"
#include "lib/cni/netns_path.h"
#include "lib/cni/repeated.h"
#include "lib/cni/result_versions.h"

namespace slicer::chain {

using cni::CniResult;
using cni::Command;
using cni::Json;

namespace {

/// The variables of a call, which replace the caller's own of those names.
using Variables = std::map<std::string, std::string>;

std::string args_text(const CniArgs& args) {
  std::vector<std::string> pairs;
  for (const auto& [name, value] : args) pairs.push_back(name + "=" + value);
  return fmt::format("{}", fmt::join(pairs, ";"));
}

bool is_own_netns(const std::string& netns) {
  const Result<cni::NetnsPath> place = cni::inspect_netns(netns);
  return place && *place == cni::NetnsPath::kHost;
}

/// Upstream's skeleton refuses the host's namespace unless told; ours know by themselves where it makes no sense.
bool is_foreign(const std::string& plugin) { return !plugin.starts_with("slicer-"); }

Variables variables_of(Command command, const AttachmentConf& attachment, const std::string& plugin,
                       const std::vector<std::string>& path) {
  Variables variables = {{"CNI_COMMAND", cni::command_name(command)},
                         {"CNI_CONTAINERID", attachment.container_id},
                         {"CNI_NETNS", attachment.netns},
                         {"CNI_ARGS", args_text(attachment.args)},
                         {"CNI_IFNAME", attachment.ifname},
                         {"CNI_PATH", fmt::format("{}", fmt::join(path, ":"))}};
  if (is_foreign(plugin) && is_own_netns(attachment.netns)) variables["CNI_NETNS_OVERRIDE"] = "1";
  return variables;
}

/// This process's environment with `variables` in place of its own.
std::vector<std::string> environment_with(const Variables& variables) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!variables.contains(std::string(text.substr(0, text.find('='))))) environment.emplace_back(text);
  }
  for (const auto& [name, value] : variables) environment.push_back(name + "=" + value);
  return environment;
}

/// The plugin's own keys with the network's: what every verb's stdin has. Keys that are the runtime's to write are not
/// taken from the file (SPEC.md, "Deriving request configuration": no prevResult for the first ADD, no capabilities).
Json network_config(const Conflist& network, const PluginConf& plugin) {
  Json config = Json::object();
  for (const auto& [key, value] : plugin.raw.items())
    if (key != "prevResult" && key != "capabilities" && !key.starts_with("cni.dev/")) config[key] = value;
  config["name"] = network.name;
  config["cniVersion"] = network.cni_version;
  return config;
}

/// "runtimeConfig": the capabilities that the plugin declares and the caller supplies. Without one in common the file's
/// own stays, as libcni leaves it.
void inject_capabilities(const PluginConf& plugin, const Json& supplied, Json& config) {
  Json runtime_config = Json::object();
  for (const auto& [name, declared] : plugin.capabilities)
    if (declared && supplied.contains(name)) runtime_config[name] = supplied[name];
  if (!runtime_config.empty()) config["runtimeConfig"] = runtime_config;
}

Json attachment_config(const Conflist& network, const PluginConf& plugin, const AttachmentConf& attachment,
                       const Json& prev_result) {
  Json config = network_config(network, plugin);
  if (!prev_result.is_null()) config["prevResult"] = prev_result;
  inject_capabilities(plugin, attachment.capability_args, config);
  return config;
}

Result<void> check_call(const Conflist& network, const AttachmentConf& attachment) {
  TRY(cni::check_network_name(network.name));
  TRY(cni::check_container_id(attachment.container_id));
  TRY(cni::check_ifname(attachment.ifname));
  if (network.plugins.empty())
    return fail(Kind::kInvalidConfig,
                fmt::format("network '{}' in '{}': there are no plugins", network.name, network.file));
  if (cni::is_supported(network.cni_version)) return {};
  return fail(Kind::kUnsupportedVersion,
              fmt::format("network '{}' in '{}': \"cniVersion\": {} is not spoken here", network.name, network.file,
                          network.cni_version),
              fmt::format("use one of {}", fmt::join(cni::supported_versions(), ", ")));
}

AttachmentKey key_of(const Conflist& network, const AttachmentConf& attachment) {
  return {.network = network.name, .container_id = attachment.container_id, .ifname = attachment.ifname};
}

/// What errors of a call begin with; the plugin's name stands in the step that follows.
std::string call_name(const std::string& network, Command command) {
  const std::string verb = cni::command_name(command);
  return network.empty() ? verb : fmt::format("{} on network '{}'", verb, network);
}

/// A plugin's answer to ADD. Without a version it has the configuration's (libcni: fixupResultVersion, cni#895).
struct Answer {
  CniResult result = {};
  Json json = {};  ///< in the version that the plugin chose; the next plugin's prevResult
};

Result<Answer> parse_answer(const std::string& output, const std::string& config_version) {
  Json json = TRY(cni::parse_json(output));
  if (json.is_null()) json = Json::object();
  std::string version = TRY(cni::string_field(json, "cniVersion"));
  if (version.empty()) version = config_version;
  Answer answer;
  answer.result = TRY(cni::parse_result(json, config_version));
  answer.json = TRY(cni::result_json(answer.result, version));
  return answer;
}

/// The cached result in the network's version: the file may have been changed while the VM ran. Null: none.
Result<Json> cached_result(const Cache& cache, const Conflist& network, const AttachmentConf& attachment) {
  const std::optional<CacheEntry> entry = TRY(cache.load(key_of(network, attachment)));
  if (!entry || entry->result.is_null()) return Json();
  return cni::result_json(TRY(cni::parse_result(entry->result)), network.cni_version);
}

/// Errors of steps that do not stop each other, as one.
class Failures {
 public:
  void add(const Result<void>& result) {
    if (!result) errors_.push_back(result.error());
  }
  [[nodiscard]] Result<void> joined() const {
    if (errors_.empty()) return {};
    Error all = errors_.front();
    for (size_t i = 1; i < errors_.size(); ++i) all.message += "; " + errors_[i].message;
    return std::unexpected(all);
  }

 private:
  std::vector<Error> errors_;
};

Json valid_attachments_json(std::span<const cni::ValidAttachment> valid) {
  Json list = Json::array();
  for (const cni::ValidAttachment& attachment : valid)
    list.push_back({{"containerID", attachment.container_id}, {"ifname", attachment.ifname}});
  return list;
}

}  // namespace

Result<std::string> Runtime::call(const std::string& network, const std::string& plugin, Command command,
                                  const AttachmentConf& attachment, const std::string& input) const {
  const std::string name = call_name(network, command);
  const std::vector<std::string> path =
      command == Command::kVersion ? std::vector<std::string>{"dummy"} : settings_.path;
  PluginCall done{.network = network, .plugin = plugin, .command = command, .input = input};
  done.path = TRY(cni::find_plugin(plugin, settings_.path).context(name));
  const auto start = std::chrono::steady_clock::now();
  cni::Finished finished =
      TRY(cni::run_program({.file = done.path,
                            .environment = environment_with(variables_of(command, attachment, plugin, path)),
                            .input = input,
                            .limit = settings_.limit})
              .context(fmt::format("{}: run '{}'", name, plugin)));
  done.duration = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  done.output = finished.output;
  done.exit_code = finished.exit_code();
  if (settings_.trace) settings_.trace(done);
  return cni::checked_output(std::move(finished), plugin).context(name);
}

Result<CniResult> Runtime::add(const Conflist& network, const AttachmentConf& attachment) const {
  TRY(check_call(network, attachment));
  if (attachment.netns.empty())
    return fail(Kind::kInvalidEnvironment, "add to network '" + network.name + "': no namespace");
  Answer last;
  for (const PluginConf& plugin : network.plugins) {
    const Json config = attachment_config(network, plugin, attachment, last.json);
    const std::string output = TRY(call(network.name, plugin.type, Command::kAdd, attachment, cni::dump_json(config)));
    last =
        TRY(parse_answer(output, network.cni_version)
                .context(fmt::format("{}: read result of '{}'", call_name(network.name, Command::kAdd), plugin.type)));
  }
  TRY(cache_.store({.key = key_of(network, attachment),
                    .netns = attachment.netns,
                    .args = attachment.args,
                    .capability_args = attachment.capability_args,
                    .config = network.bytes,
                    .result = last.json}));
  return last.result;
}

Result<void> Runtime::find_plugins(const Conflist& network) const {
  for (const PluginConf& plugin : network.plugins)
    (void)TRY(cni::find_plugin(plugin.type, settings_.path).context("use network '" + network.name + "'"));
  return {};
}

Result<void> Runtime::repeat_add(const Conflist& network, const PluginConf& plugin,
                                 const AttachmentConf& attachment) const {
  TRY(check_call(network, attachment));
  const Json prev_result = TRY(cached_result(cache_, network, attachment));
  if (prev_result.is_null())
    return fail(Kind::kNotFound, fmt::format("find the result of '{}' on network '{}': it is not in the cache",
                                             attachment.container_id, network.name));
  Json repeated = attachment_config(network, plugin, attachment, prev_result);
  repeated[cni::kRepeatedKey] = true;
  const std::string config = cni::dump_json(repeated);
  TRY(call(network.name, plugin.type, Command::kAdd, attachment, config));
  if (TRY(cache_.load(key_of(network, attachment)))) return {};
  TRY(call(network.name, plugin.type, Command::kDel, attachment, config));
  return {};
}

Result<void> Runtime::check(const Conflist& network, const AttachmentConf& attachment) const {
  TRY(check_call(network, attachment));
  if (!cni::version_at_least(network.cni_version, "0.4.0"))
    return fail(Kind::kUnsupportedVersion,
                fmt::format("check network '{}': version {} has no CHECK", network.name, network.cni_version),
                "CHECK came with 0.4.0");
  if (network.disable_check) return {};
  const Json prev_result = TRY(cached_result(cache_, network, attachment));
  if (prev_result.is_null())  // never added, or deleted since: no plugin may be asked (SPEC.md, section 2, CHECK)
    return fail(Kind::kNotFound, fmt::format("check '{}' on network '{}': the result of its ADD is not in the cache",
                                             attachment.container_id, network.name));
  for (const PluginConf& plugin : network.plugins) {
    const Json config = attachment_config(network, plugin, attachment, prev_result);
    TRY(call(network.name, plugin.type, Command::kCheck, attachment, cni::dump_json(config)));
  }
  return {};
}

Result<void> Runtime::del(const Conflist& network, const AttachmentConf& attachment) const {
  TRY(check_call(network, attachment));
  Json prev_result;
  if (cni::version_at_least(network.cni_version, "0.4.0")) {
    Result<Json> cached = cached_result(cache_, network, attachment);
    if (cached) {
      prev_result = std::move(*cached);
    } else {
      log_line(cached.error().message + ", dropping it");
      TRY(cache_.remove(key_of(network, attachment)));
    }
  }
  for (auto plugin = network.plugins.rbegin(); plugin != network.plugins.rend(); ++plugin) {
    const Json config = attachment_config(network, *plugin, attachment, prev_result);
    TRY(call(network.name, plugin->type, Command::kDel, attachment, cni::dump_json(config)));
  }
  return cache_.remove(key_of(network, attachment));
}

Result<void> Runtime::gc(const Conflist& network, std::span<const cni::ValidAttachment> valid) const {
  if (network.disable_gc) return {};
  Failures failures;
  for (const CacheEntry& entry : TRY(cache_.list())) {
    if (entry.key.network != network.name) continue;
    const cni::ValidAttachment own{.container_id = entry.key.container_id, .ifname = entry.key.ifname};
    if (std::ranges::find(valid, own) == valid.end()) failures.add(del(network, attachment_of(entry)));
  }
  if (!cni::is_supported(network.cni_version) || !cni::version_at_least(network.cni_version, "1.1.0"))
    return failures.joined();
  for (const PluginConf& plugin : network.plugins) {
    Json config = network_config(network, plugin);
    config["cni.dev/valid-attachments"] = valid_attachments_json(valid);
    config["cni.dev/attachments"] = config["cni.dev/valid-attachments"];  // the older name, cni#1101
    const Result<std::string> done = call(network.name, plugin.type, Command::kGc, {}, cni::dump_json(config));
    if (!done) failures.add(std::unexpected(done.error()));
  }
  return failures.joined();
}

Result<void> Runtime::status(const Conflist& network) const {
  if (!cni::is_supported(network.cni_version) || !cni::version_at_least(network.cni_version, "1.1.0")) return {};
  for (const PluginConf& plugin : network.plugins)
    TRY(call(network.name, plugin.type, Command::kStatus, {}, cni::dump_json(network_config(network, plugin))));
  return {};
}

Result<std::vector<std::string>> Runtime::versions(const std::string& plugin) const {
  // Plugins from before VERSION check these variables first (libcni: GetVersionInfo).
  const AttachmentConf dummy{.netns = "dummy", .ifname = "dummy"};
  const std::string input = fmt::format(R"({{"cniVersion":"{}"}})", cni::supported_versions().back());
  const Result<std::string> output = call("", plugin, Command::kVersion, dummy, input);
  if (!output) {
    if (output.error().message.ends_with("unknown CNI_COMMAND: VERSION")) return std::vector<std::string>{"0.1.0"};
    return std::unexpected(output.error());
  }
  const std::string step = fmt::format("VERSION: read answer of '{}'", plugin);
  const Json json = TRY(cni::parse_json(*output).context(step));
  std::vector<std::string> versions = TRY(cni::strings_field(json, "supportedVersions").context(step));
  if (!versions.empty()) return versions;
  if (TRY(cni::string_field(json, "cniVersion").context(step)) == "0.2.0")
    return std::vector<std::string>{"0.1.0", "0.2.0"};
  return fail(Kind::kDecode, step + ": no \"supportedVersions\"");
}

AttachmentConf attachment_of(const CacheEntry& entry) {
  return {.container_id = entry.key.container_id,
          .netns = entry.netns,
          .ifname = entry.key.ifname,
          .args = entry.args,
          .capability_args = entry.capability_args};
}

Result<Conflist> network_of(const CacheEntry& entry, const std::string& conf_dir) {
  return with_folder_plugins(TRY(parse_conflist(entry.config, "cache of " + entry.key.container_id)), conf_dir);
}

}  // namespace slicer::chain
