#pragma once
// The store of this host: host-local's directory under host-local's lock, a boot record beside each allocation of ours,
// and the index. Layout, order of steps and crash reasoning: docs/ipam-store.md.

#include <chrono>
#include <functional>
#include <memory>

#include "ipam/allocation_file.h"
#include "ipam/index.h"
#include "ipam/staged_file.h"
#include "ipam/store.h"
#include "lib/base/whole_file.h"

namespace slicer::ipam {

/// Does the host itself use `ip`: a permanent neighbour entry, or a /32 or /128 route? Asked only for an address whose
/// allocation file says nothing.
using InUseByHost = std::function<Result<bool>(const addr::Ip& ip)>;

struct DiskStoreOptions {
  std::string data_dir = {};
  /// Below data_dir: the network's name, or kBlocksFolder.
  std::string folder = {};
  /// One folder for all networks: an owner's network is in the boot record.
  bool shared_by_networks = false;
  /// Behind the name of each last_reserved_ip file. In a shared folder the pool's own: what one network was given last
  /// says nothing of where another's search goes on.
  std::string last_suffix = {};
  bool create = false;  ///< make the folders when they are not there
  InUseByHost in_use_by_host = {};
  std::chrono::milliseconds lock_limit = std::chrono::seconds(60);
};

/// The folder of all isolated blocks of the host. No network can be called so: names begin with a letter or digit.
inline constexpr const char* kBlocksFolder = "_blocks";

class DiskStore final : public Store {
 public:
  /// Waits for the lock. Errors: kNotFound (no folder, and not `create`), kBusy, kSystem (read-only, full).
  static Result<std::unique_ptr<DiskStore>> open(DiskStoreOptions options);
  /// Ends the session: puts the index in its file and its stamp on the folder. What fails here costs the next session
  /// a scan and nothing else.
  ~DiskStore() override;

  Result<std::vector<addr::Ip>> find(const Owner& owner) override;
  Result<std::optional<addr::Ip>> next_free(const addr::IpRange& range, unsigned stride) override;
  Result<bool> reserve(const Owner& owner, const addr::Ip& ip) override;
  Result<void> release(const Owner& owner, const addr::Ip& ip) override;
  /// In the index alone: the next scan, of this boot or another, forgets it.
  Result<void> hold_back(const addr::Ip& ip) override;
  std::optional<addr::Ip> last_reserved(size_t set) override;
  Result<void> set_last_reserved(size_t set, const addr::Ip& ip) override;
  Result<std::vector<Allocation>> allocations(const std::string& network) override;
  bool has_doubts() override;
  Result<void> refresh() override;

 private:
  /// What an allocation file and its record say together.
  struct Finding {
    enum class What { kNothing, kHeld, kUnknown, kExpired, kGarbage } what = What::kNothing;
    Holder holder = {};
    std::string network = {};  ///< empty: not known (a shared folder, and no record)
  };

  DiskStore(DiskStoreOptions options, Folder allocations, Folder records, FileLock lock);
  Result<void> load_index();
  Result<void> begin_changes();
  Result<void> scan(std::vector<Allocation>* found);
  Result<Finding> inspect(const std::string& name);
  Result<Finding> judge_record(const std::string& name, const Holder& holder, const timespec& mtime);
  void take_in(const addr::Ip& ip, const std::string& name, const Finding& finding);
  Result<bool> clear_away(const addr::Ip& ip, const std::string& name, const Finding& finding);
  Result<void> remove_stray_records();
  Result<void> place_record(const Owner& owner, const std::string& name, const timespec& now);
  Result<bool> holds(const Owner& owner, const addr::Ip& ip);
  [[nodiscard]] HolderHash hash_of(const std::string& network, const Holder& holder) const;
  [[nodiscard]] IndexIdentity identity() const;

  [[nodiscard]] std::string last_reserved_name(size_t set) const;

  DiskStoreOptions options_;
  Folder allocations_;  ///< <data_dir>/<folder>
  Folder records_;      ///< <data_dir>/.slicer/<folder>; not open when it could not be made (DEL on a full disk)
  FileLock lock_;
  std::string boot_id_;
  std::optional<Index> index_;
  bool unsaved_ = false;  ///< the index differs from its file
};

}  // namespace slicer::ipam
