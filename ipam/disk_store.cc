#include "ipam/disk_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "lib/base/hash.h"
#include "lib/base/log.h"

namespace slicer::ipam {
namespace {

using addr::Ip;

constexpr const char* kBootIdFile = "/proc/sys/kernel/random/boot_id";

Result<std::string> read_boot_id() {
  std::string id = TRY(read_file(kBootIdFile, 256));
  while (!id.empty() && (id.back() == '\n' || id.back() == ' ')) id.pop_back();
  if (id.empty() || id.size() > 39) return fail(Kind::kSystem, fmt::format("read '{}': not a boot id", kBootIdFile));
  return id;
}

Result<Folder> open_or_make(const std::string& path, unsigned mode, bool create) {
  Result<Folder> folder = open_folder(path);
  if (folder || folder.error().kind != Kind::kNotFound || !create) return folder;
  TRY(ensure_directory(path, mode));
  return open_folder(path);
}

}  // namespace

DiskStore::DiskStore(DiskStoreOptions options, Folder allocations, Folder records, FileLock lock)
    : options_(std::move(options)),
      allocations_(std::move(allocations)),
      records_(std::move(records)),
      lock_(std::move(lock)) {}

Result<std::unique_ptr<DiskStore>> DiskStore::open(DiskStoreOptions options) {
  const std::string path = options.data_dir + "/" + options.folder;
  Folder allocations = TRY(open_or_make(path, 0755, options.create));
  Result<Folder> records = open_or_make(options.data_dir + "/.slicer/" + options.folder, 0700, true);
  if (!records && options.create) return std::unexpected(records.error());
  FileLock lock = TRY(FileLock::acquire(path + "/lock", options.lock_limit));
  struct stat info{};
  if (fstat(allocations.fd.get(), &info) != 0) return fail_errno(errno, fmt::format("read folder '{}'", path));
  if (info.st_nlink == 0)
    return fail(Kind::kBusy, fmt::format("open folder '{}': removed by another process just now", path), "try again");
  std::unique_ptr<DiskStore> store(new DiskStore(std::move(options), std::move(allocations),
                                                 std::move(records).value_or(Folder{}), std::move(lock)));
  store->boot_id_ = TRY(read_boot_id());
  TRY(store->load_index());
  return store;
}

DiskStore::~DiskStore() {
  if (!unsaved_ || !index_) return;
  const Result<uint64_t> generation = index_->save(records_, identity());
  if (!generation) return;  // full or read-only: no index, and the next session scans
  const std::array<timespec, 2> times{timespec{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, stamp_of(*generation)};
  (void)futimens(allocations_.fd.get(), times.data());  // without the stamp the index is not believed
}

IndexIdentity DiskStore::identity() const {
  struct stat info{};
  (void)fstat(allocations_.fd.get(), &info);  // worked in open(); zeros would only make the index invalid
  return {.boot_id = boot_id_, .device = info.st_dev, .inode = info.st_ino};
}

HolderHash DiskStore::hash_of(const std::string& network, const Holder& holder) const {
  const HolderHash hash = hash_names({options_.shared_by_networks ? network : options_.folder, holder.text});
  return hash != 0 ? hash : 1;
}

Result<void> DiskStore::load_index() {
  struct stat info{};
  if (fstat(allocations_.fd.get(), &info) != 0) return fail_errno(errno, "read folder '" + allocations_.path + "'");
  index_ = Index::open(records_, identity(), info.st_mtim);
  if (index_) return {};
  return scan(nullptr);
}

// Where even the cache cannot be written (full), it is left behind: what follows may still work, as a DEL must.
Result<void> DiskStore::begin_changes() {
  if (!index_->begin_changes()) TRY(refresh());
  unsaved_ = true;
  return {};
}

Result<void> DiskStore::refresh() { return scan(nullptr); }

bool DiskStore::has_doubts() { return index_->doubts() != 0; }

// Does the file of `ip` name this owner, now?
Result<bool> DiskStore::holds(const Owner& owner, const Ip& ip) {
  const Finding finding = TRY(inspect(ip.text()));
  if (finding.what != Finding::What::kHeld) return false;
  if (options_.shared_by_networks && finding.network != owner.network) return false;
  return finding.holder == Holder::of(owner.container_id, owner.ifname) ||
         finding.holder == Holder{owner.container_id};  // host-local before 2018 wrote no interface name
}

Result<std::vector<Ip>> DiskStore::find(const Owner& owner) {
  for (bool again = false;; again = true) {
    std::vector<Ip> found;
    bool trusted = true;
    for (const Holder& holder : {Holder::of(owner.container_id, owner.ifname), Holder{owner.container_id}}) {
      for (const Ip& ip : index_->find(hash_of(owner.network, holder))) {
        if (TRY(holds(owner, ip))) {
          found.push_back(ip);
        } else {
          trusted = false;
        }
      }
    }
    if (trusted || again) return found;
    TRY(refresh());  // a file changed behind an unchanged folder
  }
}

Result<std::optional<Ip>> DiskStore::next_free(const addr::IpRange& range, unsigned stride) {
  return index_->next_free(range, stride);
}

// The record first, so that an allocation of ours is never without; both with one modification time, by which a record
// is known to belong to this very file and not to an earlier one of the name.
Result<bool> DiskStore::reserve(const Owner& owner, const Ip& ip) {
  if (index_->is_taken(ip)) return false;
  const std::string name = ip.text();
  struct stat info{};
  if (fstatat(allocations_.fd.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0) {
    TRY(refresh());  // the index did not know this file
    if (index_->is_taken(ip)) return false;
  }
  TRY(begin_changes());
  timespec now{};
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return fail_errno(errno, "read the clock");
  TRY(place_record(owner, name, now));
  const Holder holder = Holder::of(owner.container_id, owner.ifname);
  Result<bool> linked = [&]() -> Result<bool> {
    StagedFile file = TRY(StagedFile::stage(records_, holder.text, now));
    return file.link_as(allocations_, name);
  }();
  if (!linked || !*linked) {
    (void)remove_file(records_, name);  // a leftover is removed by the next scan
    return linked;
  }
  index_->insert(ip, hash_of(owner.network, holder));
  return true;
}

Result<void> DiskStore::place_record(const Owner& owner, const std::string& name, const timespec& now) {
  const BootRecord record{
      .container_id = owner.container_id, .ifname = owner.ifname, .network = owner.network, .boot_id = boot_id_};
  StagedFile file = TRY(StagedFile::stage(records_, record.text(), now));
  if (TRY(file.link_as(records_, name))) return {};
  TRY(remove_file(records_, name));  // of an allocation that is gone
  if (TRY(file.link_as(records_, name))) return {};
  return fail(Kind::kSystem, fmt::format("create '{}/{}': it keeps coming back", records_.path, name));
}

// The allocation first: a record without one means nothing.
Result<void> DiskStore::release(const Owner& owner, const Ip& ip) {
  TRY(begin_changes());
  TRY(remove_file(allocations_, ip.text()));
  index_->erase(ip, hash_of(owner.network, Holder::of(owner.container_id, owner.ifname)));
  index_->erase(ip, hash_of(owner.network, Holder{owner.container_id}));
  return remove_file(records_, ip.text());
}

Result<void> DiskStore::hold_back(const Ip& ip) {
  if (index_->is_taken(ip)) return {};
  TRY(begin_changes());
  index_->insert(ip, 0);
  return {};
}

std::string DiskStore::last_reserved_name(size_t set) const {
  return "last_reserved_ip." + std::to_string(set) + options_.last_suffix;
}

std::optional<Ip> DiskStore::last_reserved(size_t set) {
  const Result<DatedContent> file = read_dated(allocations_, last_reserved_name(set), 64);
  if (!file) return std::nullopt;
  const Result<Ip> ip = addr::parse_ip(file->content);
  return ip ? std::optional(*ip) : std::nullopt;
}

Result<void> DiskStore::set_last_reserved(size_t set, const Ip& ip) {
  return replace_file(records_, allocations_, last_reserved_name(set), ip.text());
}

Result<std::vector<Allocation>> DiskStore::allocations(const std::string& network) {
  std::vector<Allocation> found;
  TRY(scan(&found));
  std::erase_if(found, [&](const Allocation& allocation) { return allocation.owner.network != network; });
  return found;
}

}  // namespace slicer::ipam
