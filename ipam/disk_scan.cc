// DiskStore's slow path: reading every file when the index cannot be believed, and clearing away what is dead.

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>

#include <cerrno>
#include <memory>

#include "ipam/disk_store.h"
#include "lib/base/log.h"

namespace slicer::ipam {
namespace {

using addr::Ip;

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

// Names are those that Ip::text() gives; "lock", "last_reserved_ip.0" and an administrator's notes are none.
std::optional<Ip> ip_of_name(const std::string& name) {
  const Result<Ip> ip = addr::parse_ip(name);
  if (!ip || ip->text() != name) return std::nullopt;
  return *ip;
}

Result<std::vector<std::string>> names_in(const Folder& folder) {
  const std::string action = fmt::format("list folder '{}'", folder.path);
  const int fd = openat(folder.fd.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail_errno(errno, action);
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(fdopendir(fd), closedir);
  if (!stream) return fail_errno(errno, action);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr && errno != 0) return fail_errno(errno, action);
    if (entry == nullptr) return names;
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
}

}  // namespace

Result<void> DiskStore::scan(std::vector<Allocation>* found) {
  // First of all: nobody shall believe the old index whatever becomes of this scan.
  TRY(Index::remove(records_));
  remove_leftovers(records_);
  const std::vector<std::string> names = TRY(names_in(allocations_));
  index_.emplace(names.size());
  unsaved_ = true;
  for (const std::string& name : names) {
    const std::optional<Ip> ip = ip_of_name(name);
    if (!ip) continue;
    Finding finding = TRY(inspect(name));
    take_in(*ip, name, finding);
    const auto id = finding.holder.container_id();
    if (found != nullptr && finding.what == Finding::What::kHeld && id)
      found->push_back({*ip, {finding.network, *id, *finding.holder.ifname()}});
  }
  return remove_stray_records();
}

// Reads one allocation file and its record. An unreadable one is somebody's: an address too few is better than one
// given twice.
Result<DiskStore::Finding> DiskStore::inspect(const std::string& name) {
  const Result<DatedContent> file = read_dated(allocations_, name, kMaxAllocationFile);
  if (!file && file.error().kind == Kind::kNotFound) return Finding{};
  if (!file) {
    log_line(file.error().message + ", so the address is held back");
    return Finding{.what = Finding::What::kUnknown};
  }
  const std::optional<Holder> holder = parse_allocation(file->content);
  if (!holder) return Finding{.what = Finding::What::kGarbage};
  return judge_record(name, *holder, file->mtime);
}

Result<DiskStore::Finding> DiskStore::judge_record(const std::string& name, const Holder& holder,
                                                   const timespec& mtime) {
  Finding finding{.what = Finding::What::kHeld, .holder = holder};
  if (!options_.shared_by_networks) finding.network = options_.folder;
  constexpr size_t kMaxRecord = 2 * kMaxAllocationFile;
  const Result<DatedContent> file = read_dated(records_, name, kMaxRecord);
  if (!file || !same_time(file->mtime, mtime)) return finding;  // another program's, or ours replaced by another's
  const std::optional<BootRecord> record = parse_boot_record(file->content);
  if (!record) {
    // Records are written whole; only a power cut leaves half of one, and after that it is another boot.
    finding.what = Finding::What::kExpired;
    return finding;
  }
  if (Holder::of(record->container_id, record->ifname) != holder) return finding;
  finding.network = record->network;
  if (record->boot_id != boot_id_) finding.what = Finding::What::kExpired;
  return finding;
}

// Puts one finding into the new index, or clears it away.
void DiskStore::take_in(const Ip& ip, const std::string& name, const Finding& finding) {
  using What = Finding::What;
  if (finding.what == What::kNothing) return;
  if (finding.what == What::kHeld) {
    index_->insert(ip, hash_of(finding.network, finding.holder));
    return;
  }
  const Result<bool> cleared = clear_away(ip, name, finding);
  if (!cleared) log_line(cleared.error().message + ", so the address is held back");
  if (!cleared || !*cleared) index_->insert(ip, 0);
}

// False: the address stays taken.
Result<bool> DiskStore::clear_away(const Ip& ip, const std::string& name, const Finding& finding) {
  using What = Finding::What;
  if (finding.what == What::kUnknown) return false;
  if (finding.what == What::kGarbage) {
    const std::string where = fmt::format("allocation '{}/{}' is empty or garbage", allocations_.path, name);
    if (!options_.in_use_by_host || TRY(options_.in_use_by_host(ip).context(where))) {
      log_line(where + ", but the host has a neighbour or a route for the address: held back");
      return false;
    }
    log_line(where + ": removed, the address is free");
  }
  TRY(remove_file(allocations_, name));
  TRY(remove_file(records_, name));
  return true;
}

// Under the lock, a record whose allocation is not there is a killed process's.
Result<void> DiskStore::remove_stray_records() {
  if (!records_.fd.valid()) return {};
  for (const std::string& name : TRY(names_in(records_))) {
    const std::optional<Ip> ip = ip_of_name(name);
    if (ip && index_->is_taken(*ip)) continue;
    TRY(remove_file(records_, name));
  }
  return {};
}

}  // namespace slicer::ipam
