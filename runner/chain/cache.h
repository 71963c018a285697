#pragma once
// The results of ADD on disk, in libcni's place and format, so that cnitool and other runtimes find what we attached
// and we find what they did. Source: libcni's api.go (cachedInfo); docs/operations.md.

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/cni/json.h"

namespace slicer::chain {

/// libcni's CacheDir.
inline constexpr const char* kDefaultCacheDir = "/var/lib/cni";

/// What identifies one attachment.
struct AttachmentKey {
  std::string network = {};
  std::string container_id = {};
  std::string ifname = {};
  friend auto operator<=>(const AttachmentKey&, const AttachmentKey&) = default;
};

/// CNI_ARGS in the caller's order.
using CniArgs = std::vector<std::pair<std::string, std::string>>;

struct CacheEntry {
  AttachmentKey key = {};
  std::string netns = {};
  CniArgs args = {};
  cni::Json capability_args = cni::Json::object();
  std::string config = {};  ///< the conflist's text at the time of ADD
  cni::Json result = {};    ///< null: none
};

/// `<dir>/results/<network>-<containerID>-<ifname>`, mode 0600.
class Cache {
 public:
  explicit Cache(std::string dir = kDefaultCacheDir) : dir_(std::move(dir)) {}

  [[nodiscard]] std::string path(const AttachmentKey& key) const;
  /// Writes the entry whole. Errors: kInvalidEnvironment (a part of the key is empty or has a '/'), kSystem.
  [[nodiscard]] Result<void> store(const CacheEntry& entry) const;
  /// Absent (or a file that cannot be opened): none, as in libcni. A file from before cniCacheV1, which is the bare
  /// result, is read too. Errors: kDecode (neither).
  [[nodiscard]] Result<std::optional<CacheEntry>> load(const AttachmentKey& key) const;
  /// Absent is success.
  [[nodiscard]] Result<void> remove(const AttachmentKey& key) const;
  /// Every readable entry, by file name; other files are passed over. Error: kSystem (the folder cannot be read).
  [[nodiscard]] Result<std::vector<CacheEntry>> list() const;

 private:
  [[nodiscard]] std::string folder() const;
  std::string dir_;
};

}  // namespace slicer::chain
