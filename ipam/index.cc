#include "ipam/index.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <random>
#include <utility>

namespace slicer::ipam {

using addr::Family;
using addr::Ip;
using addr::Uint128;

struct Index::Header {
  std::array<char, 8> magic = {'s', 'l', 'i', 'p', 'a', 'm', '0', '1'};
  uint64_t dirty = 0;
  std::array<char, 40> boot_id = {};
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t generation = 0;
  uint64_t holder_slots = 0;  // a power of two
  uint64_t holders = 0;
  uint64_t chunk_slots = 0;  // a power of two
  uint64_t chunks = 0;       // slots in use, empty bitmaps included
  uint64_t doubts = 0;
};

// Key of an address: itself, IPv4 as ::ffff:a.b.c.d. 0 is an empty slot (:: is nobody's address).
struct Index::HolderSlot {
  HolderHash holder = 0;
  uint64_t high = 0;
  uint64_t low = 0;
  [[nodiscard]] Uint128 key() const { return Uint128{high} << 64 | low; }
};

// `high`, `low`: key of the address / 64, plus one so that 0 is an empty slot.
struct Index::ChunkSlot {
  uint64_t high = 0;
  uint64_t low = 0;
  uint64_t taken = 0;
  [[nodiscard]] Uint128 key() const { return Uint128{high} << 64 | low; }
};

namespace {

constexpr const char* kFileName = ".index";
constexpr const char* kNewFileName = ".index.new";
constexpr uint64_t kFewestSlots = 256;
constexpr Uint128 kMapped = Uint128{0xffff} << 32;

Uint128 key_of(const Ip& ip) { return ip.is_v4() ? kMapped | ip.value() : ip.value(); }
Ip ip_of(Uint128 key) { return key >> 32 == 0xffff ? Ip(Family::kIpv4, key) : Ip(Family::kIpv6, key); }
uint64_t high_of(Uint128 value) { return static_cast<uint64_t>(value >> 64); }
uint64_t low_of(Uint128 value) { return static_cast<uint64_t>(value); }

uint64_t spread(uint64_t value) {  // MurmurHash3's finalizer
  value = (value ^ (value >> 33)) * 0xff51afd7ed558ccdU;
  value = (value ^ (value >> 33)) * 0xc4ceb9fe1a85ec53U;
  return value ^ (value >> 33);
}

// Where the search for an entry begins. Entries without a holder are spread by their address: they would all begin at
// 0.
uint64_t home_of(HolderHash holder, Uint128 key) { return holder != 0 ? holder : spread(low_of(key) ^ high_of(key)); }

// At most three quarters full, so that a search ends soon.
bool is_crowded(uint64_t used, uint64_t slots) { return used * 4 >= slots * 3; }

uint64_t slots_for(uint64_t entries) { return std::max(kFewestSlots, std::bit_ceil(entries * 2)); }

bool same_time(const timespec& a, const timespec& b) { return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec; }

}  // namespace

timespec stamp_of(uint64_t generation) {
  // 30 bits of seconds before 1970 (back to 1935: every file system that has dates before 1970 has those) and 29 bits
  // of nanoseconds.
  return {.tv_sec = -1 - static_cast<time_t>(generation & 0x3fffffffU),
          .tv_nsec = static_cast<long>(generation >> 30 & 0x1fffffffU)};
}

Index::Index(size_t expected) { allocate(slots_for(expected), slots_for(expected / 8)); }

Index::Index(Index&& other) noexcept { *this = std::move(other); }

Index& Index::operator=(Index&& other) noexcept {
  if (this == &other) return *this;
  unmap();
  file_ = std::move(other.file_);
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  memory_ = std::move(other.memory_);
  broken_ = other.broken_;
  return *this;
}

Index::~Index() { unmap(); }

void Index::unmap() {
  if (file_.valid() && data_ != nullptr) (void)munmap(const_cast<std::byte*>(data_), size_);
  file_.reset();
  data_ = nullptr;
}

void Index::allocate(uint64_t holder_slots, uint64_t chunk_slots) {
  unmap();
  size_ = sizeof(Header) + holder_slots * sizeof(HolderSlot) + chunk_slots * sizeof(ChunkSlot);
  memory_.assign(size_ / sizeof(uint64_t), 0);
  data_ = reinterpret_cast<const std::byte*>(memory_.data());
  broken_ = false;
  Header fresh;
  fresh.holder_slots = holder_slots;
  fresh.chunk_slots = chunk_slots;
  std::random_device random;  // a generation that no earlier index of this folder had
  fresh.generation = uint64_t{random()} << 32 | random();
  put_header(fresh);
}

std::optional<Index> Index::open(const Folder& scratch, const IndexIdentity& identity, const timespec& folder_mtime) {
  Index index;
  index.file_.reset(openat(scratch.fd.get(), kFileName, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  struct stat info{};
  if (!index.file_.valid() || fstat(index.file_.get(), &info) != 0) return std::nullopt;
  index.size_ = static_cast<size_t>(info.st_size);
  if (!S_ISREG(info.st_mode) || index.size_ < sizeof(Header)) return std::nullopt;
  void* mapping = mmap(nullptr, index.size_, PROT_READ, MAP_SHARED, index.file_.get(), 0);
  if (mapping == MAP_FAILED) return std::nullopt;
  index.data_ = static_cast<const std::byte*>(mapping);
  const Header& header = index.header();
  if (!index.is_sound(index.size_) || header.dirty != 0) return std::nullopt;
  if (identity.boot_id.size() >= header.boot_id.size() || identity.boot_id != header.boot_id.data())
    return std::nullopt;
  if (header.device != identity.device || header.inode != identity.inode) return std::nullopt;
  if (!same_time(stamp_of(header.generation), folder_mtime)) return std::nullopt;
  return index;
}

bool Index::is_sound(size_t file_size) const {
  const Header& h = header();
  constexpr uint64_t kMostSlots = uint64_t{1} << 32;
  return h.magic == Header{}.magic && h.boot_id.back() == '\0' && std::has_single_bit(h.holder_slots) &&
         std::has_single_bit(h.chunk_slots) && h.holder_slots <= kMostSlots && h.chunk_slots <= kMostSlots &&
         h.holders < h.holder_slots && h.chunks < h.chunk_slots &&
         file_size == sizeof(Header) + h.holder_slots * sizeof(HolderSlot) + h.chunk_slots * sizeof(ChunkSlot);
}

const Index::Header& Index::header() const { return *reinterpret_cast<const Header*>(data_); }

const Index::HolderSlot* Index::holders() const { return reinterpret_cast<const HolderSlot*>(data_ + sizeof(Header)); }

const Index::ChunkSlot* Index::chunks() const {
  return reinterpret_cast<const ChunkSlot*>(data_ + sizeof(Header) + header().holder_slots * sizeof(HolderSlot));
}

// Through the file, not the mapping: on a full disk that is an error, not a SIGBUS.
void Index::write(size_t offset, const void* bytes, size_t size) {
  if (!file_.valid()) {
    std::memcpy(reinterpret_cast<std::byte*>(memory_.data()) + offset, bytes, size);
  } else if (pwrite(file_.get(), bytes, size, static_cast<off_t>(offset)) != static_cast<ssize_t>(size)) {
    broken_ = true;
  }
}

void Index::put_header(const Header& value) { write(0, &value, sizeof value); }

void Index::put_holder(uint64_t slot, const HolderSlot& value) {
  write(sizeof(Header) + slot * sizeof value, &value, sizeof value);
}

void Index::put_chunk(uint64_t slot, const ChunkSlot& value) {
  write(sizeof(Header) + header().holder_slots * sizeof(HolderSlot) + slot * sizeof value, &value, sizeof value);
}

Result<void> Index::begin_changes() {
  if (!file_.valid() || header().dirty != 0) return {};
  Header changed = header();
  changed.dirty = 1;
  put_header(changed);
  if (broken_) return fail_errno(errno, "write the index of allocations");
  return {};
}

// The slot of a chunk, or the empty one where it would go. `key` is already plus one.
uint64_t Index::chunk_slot(Uint128 key) const {
  const uint64_t mask = header().chunk_slots - 1;
  uint64_t slot = spread(low_of(key) ^ spread(high_of(key))) & mask;
  for (uint64_t probes = 0; probes <= mask; ++probes, slot = (slot + 1) & mask) {
    const Uint128 there = chunks()[slot].key();
    if (there == key || there == 0) break;
  }
  return slot;
}

bool Index::is_taken(const Ip& ip) const {
  const Uint128 key = key_of(ip);
  const ChunkSlot& chunk = chunks()[chunk_slot((key >> 6) + 1)];
  return chunk.key() == (key >> 6) + 1 && (chunk.taken >> (low_of(key) & 63) & 1U) != 0;
}

void Index::set_bit(const Ip& ip, bool taken) {
  const Uint128 key = key_of(ip);
  const Uint128 name = (key >> 6) + 1;
  const uint64_t slot = chunk_slot(name);
  ChunkSlot chunk = chunks()[slot];
  if (chunk.key() != name) {
    if (!taken) return;
    chunk = {.high = high_of(name), .low = low_of(name), .taken = 0};
    Header changed = header();
    ++changed.chunks;
    put_header(changed);
  }
  const uint64_t bit = uint64_t{1} << (low_of(key) & 63);
  chunk.taken = taken ? chunk.taken | bit : chunk.taken & ~bit;
  put_chunk(slot, chunk);
}

void Index::insert(const Ip& ip, HolderHash holder) {
  if (is_crowded(header().holders + 1, header().holder_slots) || is_crowded(header().chunks + 1, header().chunk_slots))
    grow();
  const uint64_t mask = header().holder_slots - 1;
  const Uint128 key = key_of(ip);
  uint64_t slot = home_of(holder, key) & mask;
  while (holders()[slot].key() != 0) slot = (slot + 1) & mask;  // never full: see above
  put_holder(slot, {.holder = holder, .high = high_of(key), .low = low_of(key)});
  Header changed = header();
  ++changed.holders;
  if (holder == 0) ++changed.doubts;
  put_header(changed);
  set_bit(ip, true);
}

void Index::erase(const Ip& ip, HolderHash holder) {
  const uint64_t mask = header().holder_slots - 1;
  uint64_t slot = home_of(holder, key_of(ip)) & mask;
  for (uint64_t probes = 0;; ++probes, slot = (slot + 1) & mask) {
    if (probes > mask || holders()[slot].key() == 0) return;
    if (holders()[slot].holder == holder && holders()[slot].key() == key_of(ip)) break;
  }
  close_gap(slot);
  Header changed = header();
  --changed.holders;
  if (holder == 0) --changed.doubts;
  put_header(changed);
  set_bit(ip, false);
}

// Linear probing without tombstones: entries behind the gap move into it unless they would then stand before the slot
// that their search begins at.
void Index::close_gap(uint64_t gap) {
  const uint64_t mask = header().holder_slots - 1;
  for (uint64_t slot = (gap + 1) & mask; slot != gap && holders()[slot].key() != 0; slot = (slot + 1) & mask) {
    const uint64_t home = home_of(holders()[slot].holder, holders()[slot].key()) & mask;
    if (((slot - home) & mask) < ((slot - gap) & mask)) continue;
    put_holder(gap, holders()[slot]);
    gap = slot;
  }
  put_holder(gap, {});
}

// Into memory, with room for as much again. Chunks are counted anew: emptied ones are left behind here.
void Index::grow() {
  uint64_t live = 0;
  for (uint64_t slot = 0; slot < header().chunk_slots; ++slot) live += chunks()[slot].taken != 0 ? 1 : 0;
  Index larger;
  larger.allocate(slots_for(header().holders * 2 + 1), slots_for(live * 2 + 1));
  for (uint64_t slot = 0; slot < header().holder_slots; ++slot) {
    const HolderSlot& entry = holders()[slot];
    if (entry.key() != 0) larger.insert(ip_of(entry.key()), entry.holder);
  }
  *this = std::move(larger);
}

std::vector<Ip> Index::find(HolderHash holder) const {
  std::vector<Ip> found;
  const uint64_t mask = header().holder_slots - 1;
  uint64_t slot = holder & mask;
  for (uint64_t probes = 0; probes <= mask && holders()[slot].key() != 0; ++probes, slot = (slot + 1) & mask) {
    if (holders()[slot].holder == holder) found.push_back(ip_of(holders()[slot].key()));
  }
  return found;
}

std::optional<Ip> Index::next_free(const addr::IpRange& range, unsigned stride) const {
  const Uint128 first = key_of(range.first);
  const Uint128 last = key_of(range.last);
  const uint64_t wanted = stride == 4 ? uint64_t{0x1111111111111111} << (low_of(first) & 3) : ~uint64_t{0};
  for (Uint128 chunk = first >> 6; chunk <= last >> 6; ++chunk) {
    const ChunkSlot& slot = chunks()[chunk_slot(chunk + 1)];
    uint64_t free = wanted & (slot.key() == chunk + 1 ? ~slot.taken : ~uint64_t{0});
    if (chunk == first >> 6) free &= ~uint64_t{0} << (low_of(first) & 63);
    if (chunk == last >> 6) free &= ~uint64_t{0} >> (63 - (low_of(last) & 63));
    if (free != 0) return ip_of(chunk << 6 | static_cast<unsigned>(std::countr_zero(free)));
  }
  return std::nullopt;
}

uint64_t Index::doubts() const { return header().doubts; }

Result<uint64_t> Index::save(const Folder& scratch, const IndexIdentity& identity) {
  const std::string action = fmt::format("write '{}/{}'", scratch.path, kFileName);
  Header saved = header();
  saved.dirty = 0;
  saved.boot_id = {};
  identity.boot_id.copy(saved.boot_id.data(), saved.boot_id.size() - 1);
  saved.device = identity.device;
  saved.inode = identity.inode;
  ++saved.generation;
  if (broken_) return fail(Kind::kSystem, action + ": an earlier write failed");
  put_header(saved);
  if (broken_) return fail_errno(errno, action);
  if (file_.valid()) return saved.generation;
  const UniqueFd file(
      openat(scratch.fd.get(), kNewFileName, O_CREAT | O_TRUNC | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return fail_errno(errno, action);
  const ssize_t count = ::write(file.get(), data_, size_);
  if (count != static_cast<ssize_t>(size_) ||
      renameat(scratch.fd.get(), kNewFileName, scratch.fd.get(), kFileName) != 0) {
    const int err = count >= 0 && count != static_cast<ssize_t>(size_) ? ENOSPC : errno;
    (void)unlinkat(scratch.fd.get(), kNewFileName, 0);  // the name is ours alone
    return fail_errno(err, action);
  }
  return saved.generation;
}

Result<void> Index::remove(const Folder& scratch) {
  if (!scratch.fd.valid()) return {};
  (void)unlinkat(scratch.fd.get(), kNewFileName, 0);  // a leftover of a killed process
  if (unlinkat(scratch.fd.get(), kFileName, 0) == 0 || errno == ENOENT) return {};
  return fail_errno(errno, fmt::format("delete '{}/{}'", scratch.path, kFileName));
}

}  // namespace slicer::ipam
