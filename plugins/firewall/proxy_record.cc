#include "plugins/firewall/proxy_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <ranges>

#include "lib/base/hash.h"
#include "lib/base/whole_file.h"
#include "lib/net/link.h"
#include "lib/net/neighbour.h"

namespace slicer::firewall {
namespace {

constexpr const char* kFolder = "/run/slicer/proxies";

struct Record {
  std::string alias = {};
  std::string link = {};
  std::vector<addr::Ip> guests = {};
};

std::string path_of(const std::string& alias) {
  return fmt::format("{}/{}", kFolder, base32(hash_names({"proxies", alias}), 20));
}

/// A file that is none of ours is no record.
std::optional<Record> read_record(const std::string& path) {
  const Result<std::string> text = read_file(path);
  if (!text) return std::nullopt;
  Record record;
  for (size_t line = 0; const auto part : std::views::split(*text, '\n')) {
    const std::string word(part.begin(), part.end());
    if (line == 0) record.alias = word;
    if (line == 1) record.link = word;
    if (line > 1)
      if (const Result<addr::Ip> ip = addr::parse_ip(word)) record.guests.push_back(*ip);
    ++line;
  }
  if (record.link.empty()) return std::nullopt;
  return record;
}

Result<void> remove_record(net::RouteSocket& host, const std::string& path, const Record& record) {
  if (const std::optional<int> link = TRY(net::find_link_index(host, record.link)))
    for (const addr::Ip& ip : record.guests) TRY(net::delete_proxy_neighbour(host, *link, ip));
  return delete_file(path);
}

}  // namespace

Result<void> remove_recorded_proxies(const cni::Attachment& attachment) {
  const std::string path = path_of(attachment.alias());
  const std::optional<Record> record = read_record(path);
  if (!record || record->alias != attachment.alias()) return {};
  net::RouteSocket host = TRY(net::RouteSocket::open());
  return remove_record(host, path, *record);
}

Result<bool> write_proxy_record(const cni::Attachment& attachment, const std::string& link,
                                const std::vector<addr::Ip>& guests) {
  std::string text = attachment.alias() + "\n" + link + "\n";
  bool any = false;
  for (const addr::Ip& ip : guests) {
    if (ip.is_v4()) continue;
    text += ip.text() + "\n";
    any = true;
  }
  const std::string path = path_of(attachment.alias());
  const Result<std::string> standing = read_file(path);
  if (!any || (standing && *standing == text)) return false;
  TRY(ensure_directory(kFolder, 0700));
  // Other addresses than those of an ADD before, without a DEL: its entries go first. A file that is replaced would
  // have a name of its own meanwhile, which a killed call leaves.
  if (standing) TRY(remove_recorded_proxies(attachment));
  if (standing) TRY(delete_file(path));
  TRY(write_whole_file(path, text, {.replace = false}));
  return !standing;
}

Result<void> delete_proxy_record(const cni::Attachment& attachment) { return delete_file(path_of(attachment.alias())); }

Result<void> remove_stale_proxies(const std::string& network, const std::vector<cni::ValidAttachment>& valid) {
  const std::string prefix = cni::Attachment{.network = network, .container_id = {}, .ifname = {}}.alias_prefix();
  const auto is_known = [&](const std::string& alias) {
    return std::ranges::any_of(valid, [&](const cni::ValidAttachment& one) {
      return cni::Attachment{.network = network, .container_id = one.container_id, .ifname = one.ifname}.alias() ==
             alias;
    });
  };
  std::error_code absent;
  Result<void> first_error;
  std::optional<net::RouteSocket> host;
  for (const auto& file : std::filesystem::directory_iterator(kFolder, absent)) {
    const std::optional<Record> record = read_record(file.path());
    if (!record || !record->alias.starts_with(prefix) || is_known(record->alias)) continue;
    if (!host) host = TRY(net::RouteSocket::open());
    if (Result<void> done = remove_record(*host, file.path(), *record); !done && first_error)
      first_error = std::move(done);
  }
  return first_error;
}

}  // namespace slicer::firewall
