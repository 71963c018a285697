#include "runner/chain/cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"
#include "lib/cni/result_versions.h"

namespace slicer::chain {

using cni::Json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kKind = "cniCacheV1";
/// A result names at most a few addresses and routes, a conflist is at most 1 MiB (a third more in base 64).
constexpr size_t kLimit = size_t{8} << 20;
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

// Base 64 with padding (RFC 4648, section 4), which is how Go writes bytes in JSON.

std::string base64_encode(std::string_view bytes) {
  std::string text;
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const std::string_view group = bytes.substr(at, 3);
    uint32_t value = 0;
    for (size_t i = 0; i < 3; ++i) value = value << 8U | (i < group.size() ? static_cast<uint8_t>(group[i]) : 0U);
    for (size_t i = 0; i < 4; ++i) text += i <= group.size() ? kAlphabet[value >> (18U - 6U * i) & 63U] : '=';
  }
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) text.remove_suffix(1);
  std::string bytes;
  uint32_t value = 0;
  unsigned bits = 0;
  for (const char c : text) {
    const size_t digit = kAlphabet.find(c);
    if (digit == std::string_view::npos) return std::nullopt;
    value = value << 6U | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(value >> bits & 0xffU);
  }
  return bytes;
}

Result<void> check_key(const AttachmentKey& key) {
  for (const std::string& part : {key.network, key.container_id, key.ifname}) {
    if (!part.empty() && part.find('/') == std::string::npos) continue;
    return fail(Kind::kInvalidEnvironment,
                fmt::format("cache a result: network '{}', container ID '{}' and interface '{}' must name a file",
                            key.network, key.container_id, key.ifname));
  }
  return {};
}

Result<CniArgs> parse_args(const Json& entry) {
  CniArgs args;
  for (const Json& pair : TRY(cni::array_field(entry, "cniArgs"))) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string())
      return fail(Kind::kDecode, "\"cniArgs\": expected pairs of strings, got " + cni::dump_json(pair));
    args.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
  }
  return args;
}

Result<CacheEntry> parse_entry(const Json& json) {
  CacheEntry entry;
  entry.key.network = TRY(cni::string_field(json, "networkName"));
  entry.key.container_id = TRY(cni::string_field(json, "containerId"));
  entry.key.ifname = TRY(cni::string_field(json, "ifName"));
  entry.netns = TRY(cni::string_field(json, "netns"));
  entry.args = TRY(parse_args(json));
  entry.capability_args = TRY(cni::object_field(json, "capabilityArgs"));
  std::optional<std::string> config = base64_decode(TRY(cni::string_field(json, "config")));
  if (!config) return fail(Kind::kDecode, "\"config\": not base 64");
  entry.config = std::move(*config);
  const Json result = TRY(cni::object_field(json, "result"));
  if (!result.empty()) entry.result = result;
  return entry;
}

bool is_entry(const Json& json) { return json.is_object() && json.contains("kind") && json["kind"] == kKind; }

/// Before cniCacheV1 libcni kept the bare result.
Result<CacheEntry> parse_legacy(const Json& json, const AttachmentKey& key) {
  (void)TRY(cni::parse_result(json));
  return CacheEntry{.key = key, .result = json};
}

Json entry_json(const CacheEntry& entry) {
  Json json = {{"kind", kKind},
               {"containerId", entry.key.container_id},
               {"config", base64_encode(entry.config)},
               {"ifName", entry.key.ifname},
               {"networkName", entry.key.network}};
  if (!entry.netns.empty()) json["netns"] = entry.netns;
  for (const auto& [name, value] : entry.args) json["cniArgs"].push_back(Json::array({name, value}));
  if (!entry.capability_args.empty()) json["capabilityArgs"] = entry.capability_args;
  if (!entry.result.empty()) json["result"] = entry.result;
  return json;
}

}  // namespace

std::string Cache::folder() const { return dir_ + "/results"; }

std::string Cache::path(const AttachmentKey& key) const {
  return fmt::format("{}/{}-{}-{}", folder(), key.network, key.container_id, key.ifname);
}

Result<void> Cache::store(const CacheEntry& entry) const {
  TRY(check_key(entry.key));
  TRY(ensure_directory(folder(), 0700));
  return write_whole_file(path(entry.key), cni::dump_json(entry_json(entry)), {.mode = 0600});
}

Result<std::optional<CacheEntry>> Cache::load(const AttachmentKey& key) const {
  if (!check_key(key)) return std::nullopt;
  const std::string file = path(key);
  const std::string step = "read cached result '" + file + "'";
  Result<std::string> text = read_file(file, kLimit);
  if (!text) return std::nullopt;  // as libcni: a DEL must go on whatever became of the file
  const Json json = TRY(cni::parse_json(*text).context(step));
  if (!is_entry(json)) return TRY(parse_legacy(json, key).context(step));
  CacheEntry entry = TRY(parse_entry(json).context(step));
  // "a-b" + "c" and "a" + "b-c" share a file name: what is another attachment's is none of this one's.
  if (entry.key != key) return std::nullopt;
  return entry;
}

Result<void> Cache::remove(const AttachmentKey& key) const {
  if (!check_key(key)) return {};
  Result<std::optional<CacheEntry>> entry = load(key);
  if (entry && !*entry) return {};
  return delete_file(path(key));
}

Result<std::vector<CacheEntry>> Cache::list() const {
  std::vector<std::string> files;
  std::error_code failure;
  fs::directory_iterator found(folder(), failure);
  for (; !failure && found != fs::directory_iterator(); found.increment(failure)) files.push_back(found->path());
  if (failure && failure.value() != ENOENT) return fail_errno(failure.value(), "read folder '" + folder() + "'");
  std::ranges::sort(files);

  std::vector<CacheEntry> entries;
  for (const std::string& file : files) {
    const Result<std::string> text = read_file(file, kLimit);
    if (!text) continue;
    const Result<Json> json = cni::parse_json(*text);
    if (!json || !is_entry(*json)) continue;
    Result<CacheEntry> entry = parse_entry(*json);
    if (entry && check_key(entry->key)) entries.push_back(std::move(*entry));
  }
  return entries;
}

}  // namespace slicer::chain
