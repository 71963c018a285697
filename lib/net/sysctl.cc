#include "lib/net/sysctl.h"

#include <fcntl.h>
#include <glob.h>

#include <cerrno>
#include <chrono>
#include <string_view>
#include <vector>

#include "lib/base/whole_file.h"

namespace slicer::net {
namespace {

constexpr std::chrono::seconds kLockLimit{5};
using Setting = std::pair<std::string, std::string>;

/// /proc/sys/net shows the namespace of the thread that opens a file in it.
Result<UniqueFd> open_key(const Netns* ns, const std::string& key, int flags) {
  std::optional<ScopedNetns> inside;
  if (ns != nullptr) inside.emplace(TRY(ScopedNetns::enter(*ns)));
  UniqueFd fd(open(("/proc/sys/" + key).c_str(), flags | O_CLOEXEC));
  if (fd.valid()) return fd;
  const int err = errno;
  Error error = errno_error(err, "open sysctl '" + key + "'");
  if (err == ENOENT) error.kind = Kind::kNotFound;
  if (err == EROFS || err == EACCES) error.hint = "/proc/sys is read-only here: set it on the host";
  return std::unexpected(std::move(error));
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

const char* forwarding_key(addr::Family family) {
  return family == addr::Family::kIpv4 ? "net/ipv4/ip_forward" : "net/ipv6/conf/all/forwarding";
}

/// "key = value" lines of `text` with those of `values` replaced where they are, or appended.
std::string merged(std::string_view text, std::span<const Setting> values) {
  std::string result;
  std::vector<bool> written(values.size(), false);
  const auto append = [&](size_t place) {
    result += values[place].first + " = " + values[place].second + "\n";
    written[place] = true;
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    size_t place = 0;
    while (place < values.size() && !line.starts_with(values[place].first + " = ")) ++place;
    if (place == values.size()) (result += line) += '\n';
    if (place < values.size() && !written[place]) append(place);
  }
  for (size_t place = 0; place < values.size(); ++place) {
    if (!written[place]) append(place);
  }
  return result;
}

Result<std::string> read_kept(const std::string& path) {
  Result<std::string> text = read_file(path);
  if (!text && text.error().kind == Kind::kNotFound) return std::string();
  return text;
}

/// Links of the calling thread's namespace that take router advertisements only while they do not forward.
std::vector<std::string> links_with_accept_ra(const Netns* ns) {
  std::vector<std::string> keys;
  glob_t found = {};
  const std::string_view root = "/proc/sys/";
  {
    std::optional<ScopedNetns> inside;
    if (ns != nullptr) {
      Result<ScopedNetns> entered = ScopedNetns::enter(*ns);
      if (!entered) return keys;
      inside.emplace(std::move(*entered));
    }
    (void)glob("/proc/sys/net/ipv6/conf/*/accept_ra", GLOB_NOSORT, nullptr, &found);  // no IPv6: nothing is found
  }
  for (size_t i = 0; i < found.gl_pathc; ++i) {
    const std::string key = std::string(found.gl_pathv[i]).substr(root.size());
    // `all` has no effect of its own; `default` would make later links, our own too, obey a guest's advertisements.
    if (key == "net/ipv6/conf/all/accept_ra" || key == "net/ipv6/conf/default/accept_ra") continue;
    if (read_sysctl(ns, key).value_or("") == "1") keys.push_back(key);
  }
  globfree(&found);
  return keys;
}

}  // namespace

Result<std::string> read_sysctl(const Netns* ns, const std::string& key) {
  const UniqueFd fd = TRY(open_key(ns, key, O_RDONLY));
  return trimmed(TRY(read_fd(fd.get(), 4096).context("read sysctl '" + key + "'")));
}

Result<void> write_sysctl(const Netns* ns, const std::string& key, const std::string& value) {
  const UniqueFd fd = TRY(open_key(ns, key, O_WRONLY));
  if (write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size()))
    return fail_errno(errno, "set sysctl '" + key + "' to '" + value + "'");
  return {};
}

Result<std::optional<std::string>> ensure_sysctl(const Netns* ns, const std::string& key, const std::string& value) {
  std::string before = TRY(read_sysctl(ns, key));
  if (before == value) return std::nullopt;
  TRY(write_sysctl(ns, key, value));
  return before;
}

Result<void> keep_sysctls(const std::string& file, std::span<const Setting> values) {
  const std::string path = std::string(kSysctlFolder) + "/" + file;
  if (const std::string text = TRY(read_kept(path)); merged(text, values) == text) return {};
  TRY(ensure_directory(kSysctlFolder));
  const FileLock lock = TRY(FileLock::acquire(std::string(kSysctlFolder) + "/." + file + ".lock", kLockLimit));
  const std::string text = TRY(read_kept(path));
  const std::string wanted = merged(text, values);
  if (wanted == text) return {};
  return write_whole_file(path, wanted, {.mode = 0644});
}

Result<bool> is_forwarding(addr::Family family) { return TRY(read_sysctl(nullptr, forwarding_key(family))) != "0"; }

Result<void> ensure_forwarding(const Netns* ns, addr::Family family, const char* keep_file) {
  const std::string key = forwarding_key(family);
  std::vector<Setting> kept;
  if (TRY(read_sysctl(ns, key)) == "0") {
    if (family == addr::Family::kIpv6) {
      for (const std::string& link : links_with_accept_ra(ns)) {
        const Result<void> set = write_sysctl(ns, link, "2");
        if (!set && set.error().kind == Kind::kNotFound) continue;  // the link went meanwhile
        if (!set) return set;
        kept.emplace_back(link, "2");
      }
    }
    TRY(write_sysctl(ns, key, "1"));
  }
  kept.emplace_back(key, "1");  // behind accept_ra: `sysctl --system` goes from top to bottom
  if (keep_file == nullptr) return {};
  return keep_sysctls(keep_file, kept);
}

}  // namespace slicer::net
