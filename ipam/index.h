#pragma once
// The cache that makes lookups constant time: which addresses are taken, and which ones a holder has. It is never the
// truth: the allocation files are. Layout and crash reasoning: docs/ipam-store.md.

#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <vector>

#include "ipam/staged_file.h"
#include "lib/addr/ip.h"

namespace slicer::ipam {

/// What an index file must agree with before a word of it is believed.
struct IndexIdentity {
  std::string boot_id = {};
  uint64_t device = 0;  ///< of the folder of allocations
  uint64_t inode = 0;
};

/// A hash of a holder; 0 stands for "taken, nobody knows by whom".
using HolderHash = uint64_t;

/// The folder's modification time that stands for a generation: before 1970, where no clock ever is, so that any change
/// by somebody else, which sets the real time, shows. Exact to the nanosecond.
timespec stamp_of(uint64_t generation);

/// A bitmap of taken addresses (64 to an entry, found by hash) and a hash table from holder to addresses. Either mapped
/// from its file, and then every change is written through, or in memory until save().
class Index {
 public:
  /// In memory and empty, with room for `expected` addresses before it has to grow.
  explicit Index(size_t expected);
  Index(Index&&) noexcept;
  Index& operator=(Index&&) noexcept;
  ~Index();

  /// Maps the index in `scratch`. Absent on any doubt: no file, another size, version, boot, folder or modification
  /// time, or a session that did not end.
  static std::optional<Index> open(const Folder& scratch, const IndexIdentity& identity, const timespec& folder_mtime);

  /// Says in the file that a session is changing things, so that nobody trusts it until save(). Only needed, and only
  /// done, for a mapped index.
  Result<void> begin_changes();
  void insert(const addr::Ip& ip, HolderHash holder);
  /// Nothing happens when it is not there.
  void erase(const addr::Ip& ip, HolderHash holder);

  [[nodiscard]] bool is_taken(const addr::Ip& ip) const;
  /// Addresses whose holder has this hash, which is not 0; collisions are possible, verify them.
  [[nodiscard]] std::vector<addr::Ip> find(HolderHash holder) const;
  /// The lowest of first, first + stride, … ≤ last that is not taken; `stride` is 1 or 4.
  [[nodiscard]] std::optional<addr::Ip> next_free(const addr::IpRange& range, unsigned stride) const;
  /// Addresses with holder 0.
  [[nodiscard]] uint64_t doubts() const;

  /// Puts the index in its file as a new generation, which the caller then stamps on the folder.
  /// Errors: kSystem (full, read-only); the file is not valid then.
  Result<uint64_t> save(const Folder& scratch, const IndexIdentity& identity);
  /// Removes the file. Errors: kSystem.
  static Result<void> remove(const Folder& scratch);

 private:
  struct Header;
  struct HolderSlot;
  struct ChunkSlot;
  Index() = default;
  void allocate(uint64_t holders, uint64_t chunks);
  void unmap();
  [[nodiscard]] const Header& header() const;
  [[nodiscard]] const HolderSlot* holders() const;
  [[nodiscard]] const ChunkSlot* chunks() const;
  [[nodiscard]] uint64_t chunk_slot(addr::Uint128 key) const;
  void write(size_t offset, const void* bytes, size_t size);
  void put_header(const Header& header);
  void put_holder(uint64_t slot, const HolderSlot& value);
  void put_chunk(uint64_t slot, const ChunkSlot& value);
  void set_bit(const addr::Ip& ip, bool taken);
  void close_gap(uint64_t gap);
  void grow();
  [[nodiscard]] bool is_sound(size_t file_size) const;

  UniqueFd file_;                    ///< valid while mapped
  const std::byte* data_ = nullptr;  ///< the mapping, or memory_'s bytes
  size_t size_ = 0;
  std::vector<uint64_t> memory_;
  bool broken_ = false;  ///< a write to the file failed: never valid again
};

}  // namespace slicer::ipam
