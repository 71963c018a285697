#include "runner/chain/conflist.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>

#include "lib/base/whole_file.h"
#include "lib/cni/environment.h"
#include "lib/cni/fields.h"
#include "lib/cni/result_types.h"
#include "lib/cni/result_versions.h"

namespace slicer::chain {

using cni::Json;
namespace fs = std::filesystem;

namespace {

/// Leaves room for a five-digit number in an interface's 15 characters.
constexpr size_t kMaxTapPrefix = 10;

/// A version string as libcni compares it: one to three numbers, what is missing is 0, "" is 0.1.0.
struct Version {
  long major = 0;
  long minor = 1;
  long micro = 0;
  friend auto operator<=>(const Version&, const Version&) = default;
};

std::optional<Version> parse_version(std::string_view text) {
  if (text.empty()) return Version{};
  std::array<long, 3> parts = {0, 0, 0};
  size_t count = 0;
  while (true) {
    const size_t dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (count == parts.size() || part.empty() || part.size() > 9) return std::nullopt;
    if (part.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
    parts[count++] = std::stol(std::string(part));
    if (dot == std::string_view::npos) break;
    text.remove_prefix(dot + 1);
  }
  return Version{.major = parts[0], .minor = parts[1], .micro = parts[2]};
}

/// A boolean, or "true" / "false" in any case (libcni reads both; admins write both).
Result<bool> flag(const Json& list, const char* key) {
  const auto found = list.find(key);
  if (found == list.end()) return false;
  if (found->is_boolean()) return found->get<bool>();
  if (found->is_string()) {
    std::string text = found->get<std::string>();
    std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (text == "true") return true;
    if (text == "false") return false;
  }
  return fail(Kind::kInvalidConfig, fmt::format("\"{}\": expected true or false, got {}", key, cni::dump_json(*found)));
}

Result<std::string> required_string(const Json& list, const char* key) {
  if (list[key].is_string()) return list[key].get<std::string>();
  return fail(Kind::kInvalidConfig, fmt::format("\"{}\": expected a string, got {}", key, cni::dump_json(list[key])));
}

Result<void> check_version_text(const char* key, const std::string& text) {
  if (parse_version(text)) return {};
  return fail(Kind::kInvalidConfig, fmt::format("\"{}\": expected a version like \"1.0.0\", got \"{}\"", key, text));
}

/// The highest version of both keys that we speak. Without "cniVersions" the file's word stands, as in libcni.
Result<std::string> negotiate(const Json& list) {
  const std::string single = list.contains("cniVersion") ? TRY(required_string(list, "cniVersion")) : "";
  const std::string fallback = single.empty() ? "0.1.0" : single;
  if (!list.contains("cniVersions")) return fallback;
  if (!list["cniVersions"].is_array()) {
    return fail(Kind::kInvalidConfig, fmt::format("\"cniVersions\": expected a list of versions, got {}",
                                                  cni::dump_json(list["cniVersions"])));
  }
  std::vector<std::string> offered = TRY(cni::strings_field(list, "cniVersions"));
  for (const std::string& version : offered) TRY(check_version_text("cniVersions", version));
  if (!single.empty()) {
    TRY(check_version_text("cniVersion", single));
    offered.push_back(single);
  }
  std::erase_if(offered, [](const std::string& version) { return !cni::is_supported(version); });
  if (offered.empty()) return fallback;
  return *std::ranges::max_element(offered, {}, [](const std::string& text) { return *parse_version(text); });
}

/// The keys of a plugin that libcni itself reads; a wrong type ends the load there too.
Result<PluginConf> parse_plugin(const Json& plugin) {
  if (!plugin.is_object()) return fail(Kind::kInvalidConfig, "expected an object, got " + cni::dump_json(plugin));
  PluginConf conf;
  conf.type = TRY(cni::string_field(plugin, "type"));
  if (conf.type.empty()) return fail(Kind::kInvalidConfig, "\"type\" is missing: it names the plugin's program");
  (void)TRY(cni::string_field(plugin, "name"));
  (void)TRY(cni::string_field(plugin, "cniVersion"));
  (void)TRY(cni::string_field(TRY(cni::object_field(plugin, "ipam")), "type"));
  (void)TRY(cni::parse_dns(TRY(cni::object_field(plugin, "dns"))));
  const Json capabilities = TRY(cni::object_field(plugin, "capabilities"));
  for (const auto& [name, value] : capabilities.items()) {
    conf.capabilities[name] = TRY(cni::bool_field(capabilities, name.c_str(), false).context("\"capabilities\""));
  }
  conf.raw = plugin;
  return conf;
}

Result<std::vector<PluginConf>> parse_plugins(const Json& list, bool only_inlined) {
  if (!list.contains("plugins")) {
    if (!only_inlined) return std::vector<PluginConf>{};
    return fail(Kind::kInvalidConfig, "\"loadOnlyInlinedPlugins\" is true, but there are no \"plugins\"");
  }
  const Json& plugins = list["plugins"];
  if (!plugins.is_array())
    return fail(Kind::kInvalidConfig, "\"plugins\": expected a list of objects, got " + cni::dump_json(plugins));
  if (plugins.empty()) return fail(Kind::kInvalidConfig, "\"plugins\" is empty");
  std::vector<PluginConf> parsed;
  for (const Json& plugin : plugins)
    parsed.push_back(TRY(parse_plugin(plugin).context(fmt::format("plugin {} of \"plugins\"", parsed.size() + 1))));
  return parsed;
}

/// What libcni reads of a list, and nothing of ours.
Result<Conflist> parse_list(const Json& list, const std::string& file) {
  if (!list.is_object()) return fail(Kind::kInvalidConfig, "expected an object");
  if (!list.contains("name")) return fail(Kind::kInvalidConfig, "\"name\" is missing: a network needs one");
  Conflist network;
  network.file = file;
  network.name = TRY(required_string(list, "name"));
  network.cni_version = TRY(negotiate(list));
  network.disable_check = TRY(flag(list, "disableCheck"));
  network.disable_gc = TRY(flag(list, "disableGC"));
  network.load_only_inlined_plugins = TRY(flag(list, "loadOnlyInlinedPlugins"));
  network.plugins = TRY(parse_plugins(list, network.load_only_inlined_plugins));
  return network;
}

/// Our own keys at the top of a list; other runtimes pass them over.
Result<void> read_own_keys(const Json& list, Conflist& network) {
  const std::string netns = TRY(cni::string_field(list, "netns"));
  if (!netns.empty() && netns != "host") {
    return fail(Kind::kInvalidConfig, fmt::format("\"netns\": \"{}\" is not a placement; only \"host\" is", netns),
                "leave the key out for a private namespace per VM");
  }
  network.host_netns = netns == "host";
  network.tap_prefix = TRY(cni::string_field(list, "tap_prefix", network.tap_prefix));
  if (network.tap_prefix.empty() || network.tap_prefix.size() > kMaxTapPrefix ||
      !cni::check_ifname(network.tap_prefix + "0")) {
    return fail(Kind::kInvalidConfig,
                fmt::format("\"tap_prefix\": \"{}\" cannot begin an interface's name", network.tap_prefix),
                fmt::format("1-{} characters without '/', ':' or white space", kMaxTapPrefix));
  }
  return {};
}

/// A step's error in `file`, which libcni leaves unnamed.
std::string in_file(const std::string& file) { return "read network '" + file + "'"; }

/// The regular files (and links) of `dir` with one of the extensions, sorted by name; an absent folder has none.
Result<std::vector<std::string>> conf_files(const std::string& dir,
                                            std::initializer_list<std::string_view> extensions) {
  std::vector<std::string> files;
  std::error_code failure;
  fs::directory_iterator entries(dir, failure);
  for (; !failure && entries != fs::directory_iterator(); entries.increment(failure)) {
    const std::string name = entries->path().filename().string();
    const size_t dot = name.rfind('.');  // a name that is all extension counts, as for Go's filepath.Ext
    std::error_code ignored;
    if (dot == std::string::npos || entries->symlink_status(ignored).type() == fs::file_type::directory) continue;
    if (std::ranges::find(extensions, std::string_view(name).substr(dot)) != extensions.end())
      files.push_back(dir + "/" + name);
  }
  if (failure && failure.value() != ENOENT) return fail_errno(failure.value(), "read folder '" + dir + "'");
  std::ranges::sort(files);
  return files;
}

/// The plugins that stand beside the list, in the folder named as the network.
Result<void> append_folder_plugins(const std::string& dir, Conflist& network) {
  if (network.load_only_inlined_plugins || !cni::check_network_name(network.name)) return {};
  for (const std::string& file : TRY(conf_files(dir + "/" + network.name, {".conf"}))) {
    const Json plugin = TRY(cni::parse_json(TRY(read_file(file))).context(in_file(file)));
    network.plugins.push_back(TRY(parse_plugin(plugin).context(in_file(file))));
  }
  return {};
}

std::string folder_of(const std::string& file) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

/// A file of the folder on the way to a name: what libcni reads of it, and the text for our own keys.
struct Candidate {
  Conflist network = {};
  Json list = {};
};

Result<Candidate> read_list_file(const std::string& file) {
  Candidate candidate;
  std::string text = TRY(read_file(file));
  candidate.list = TRY(cni::parse_json(text).context(in_file(file)));
  candidate.network = TRY(parse_list(candidate.list, file).context(in_file(file)));
  candidate.network.bytes = std::move(text);
  TRY(append_folder_plugins(folder_of(file), candidate.network));
  if (candidate.network.plugins.empty())
    return fail(Kind::kInvalidConfig, in_file(file) + ": there are no plugins, in the file or in its folder '" +
                                          candidate.network.name + "'");
  return candidate;
}

/// A *.conf or *.json: one plugin, which becomes a list of one. (libcni calls this format deprecated.)
Result<Candidate> read_single_file(const std::string& file) {
  const Json plugin = TRY(cni::parse_json(TRY(read_file(file))).context(in_file(file)));
  (void)TRY(parse_plugin(plugin).context(in_file(file)));
  Candidate candidate;
  candidate.list = {{"name", TRY(cni::string_field(plugin, "name"))},
                    {"cniVersion", TRY(cni::string_field(plugin, "cniVersion"))},
                    {"plugins", Json::array({plugin})}};
  candidate.network = TRY(parse_list(candidate.list, file).context(in_file(file)));
  candidate.network.bytes = cni::dump_json(candidate.list);
  return candidate;
}

Result<Conflist> finish(Candidate candidate) {
  TRY(read_own_keys(candidate.list, candidate.network).context(in_file(candidate.network.file)));
  return std::move(candidate.network);
}

/// One file of a folder and how it is read.
struct Source {
  std::string file = {};
  bool is_list = true;
  [[nodiscard]] Result<Candidate> read() const { return is_list ? read_list_file(file) : read_single_file(file); }
};

/// The files of a folder in the order in which names are looked up.
Result<std::vector<Source>> sources(const std::string& dir) {
  std::vector<Source> found;
  for (std::string& file : TRY(conf_files(dir, {".conflist"}))) found.push_back({.file = std::move(file)});
  for (std::string& file : TRY(conf_files(dir, {".conf", ".json"})))
    found.push_back({.file = std::move(file), .is_list = false});
  return found;
}

/// Whether a file that cannot be read as a network says all the same that it is this one.
bool is_called(const std::string& file, const std::string& name) {
  const Result<std::string> text = read_file(file);
  if (!text) return false;
  const Result<Json> json = cni::parse_json(*text);
  return json && json->is_object() && json->contains("name") && (*json)["name"] == name;
}

std::unexpected<Error> no_such_network(const std::string& dir, const std::string& name,
                                       const std::vector<std::string>& known, const std::vector<Error>& broken) {
  if (!broken.empty()) {
    std::string message = fmt::format("find network '{}' in '{}': no file that can be read has it", name, dir);
    for (const Error& error : broken) message += "; " + error.message;
    return fail(Kind::kNotFound, std::move(message),
                "mend the file, which may be the one" +
                    (known.empty() ? "" : fmt::format("; the networks there are: {}", fmt::join(known, ", "))));
  }
  return fail(Kind::kNotFound, fmt::format("find network '{}' in '{}': no such network", name, dir),
              known.empty()
                  ? "the folder holds no network: install 51-slicer.conflist there, or name another folder by "
                    "--cni-conf-dir"
                  : fmt::format("the networks there are: {}", fmt::join(known, ", ")));
}

}  // namespace

Result<Conflist> parse_conflist(std::string_view text, const std::string& file) {
  const Json list = TRY(cni::parse_json(text).context(in_file(file)));
  Candidate candidate{.list = list};
  candidate.network = TRY(parse_list(list, file).context(in_file(file)));
  candidate.network.bytes = text;
  return finish(std::move(candidate));
}

Result<Conflist> read_conflist(const std::string& file) { return finish(TRY(read_list_file(file))); }

Result<Conflist> load_network(const std::string& dir, const std::string& name) {
  std::vector<std::string> known;
  std::vector<Error> broken;
  for (const Source& source : TRY(sources(dir))) {
    Result<Candidate> candidate = source.read();
    if (!candidate && is_called(source.file, name)) return std::unexpected(std::move(candidate).error());
    if (!candidate) {
      broken.push_back(std::move(candidate).error());
      continue;
    }
    if (candidate->network.name == name) return finish(std::move(*candidate));
    known.push_back(candidate->network.name);
  }
  return no_such_network(dir, name, known, broken);
}

Result<Conflist> with_folder_plugins(Conflist network, const std::string& dir) {
  TRY(append_folder_plugins(dir, network));
  return network;
}

bool takes_capability(const Conflist& network, const std::string& capability) {
  return std::ranges::any_of(network.plugins, [&](const PluginConf& plugin) {
    const auto declared = plugin.capabilities.find(capability);
    return declared != plugin.capabilities.end() && declared->second;
  });
}

Result<Listing> list_networks(const std::string& dir) {
  Listing listing;
  std::set<std::string> seen;
  for (const Source& source : TRY(sources(dir))) {
    Result<Candidate> candidate = source.read();
    Result<Conflist> network = candidate ? finish(std::move(*candidate)) : std::unexpected(candidate.error());
    if (!network) {
      listing.broken.push_back({.file = source.file, .error = network.error()});
    } else if (seen.insert(network->name).second) {
      listing.networks.push_back(std::move(*network));
    } else {
      listing.shadowed.push_back(std::move(*network));
    }
  }
  return listing;
}

}  // namespace slicer::chain
