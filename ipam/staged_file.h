#pragma once
// A file that is written and dated first and gets its name last.

#include <ctime>
#include <string>
#include <string_view>

#include "lib/base/result.h"
#include "lib/base/unique_fd.h"

namespace slicer::ipam {

/// A folder held open, with its path for messages. One that is not open has no files.
struct Folder {
  UniqueFd fd = {};
  std::string path = {};
};

/// Opens a folder. Errors: kNotFound, kSystem.
Result<Folder> open_folder(const std::string& path);

/// A complete file without a name (O_TMPFILE); where the file system has none, one with a fixed temporary name in
/// `scratch`, which the next stage() or remove_leftovers() overwrites or removes. One at a time, under the store's
/// lock.
class StagedFile {
 public:
  /// Writes `content`, mode 0600, mtime `time`, to be named in `scratch`'s file system.
  static Result<StagedFile> stage(const Folder& scratch, std::string_view content, const timespec& time);
  StagedFile(StagedFile&&) = default;
  StagedFile& operator=(StagedFile&&) = delete;
  ~StagedFile();

  /// link(2) to folder/name. False: the name is taken.
  Result<bool> link_as(const Folder& folder, const std::string& name);

 private:
  StagedFile(UniqueFd fd, int scratch) : fd_(std::move(fd)), scratch_(scratch) {}
  UniqueFd fd_;
  int scratch_ = -1;  ///< the folder of the temporary name; -1 when the file has none
};

/// Puts a complete file in the place of folder/name: unlink, then link. Not rename(2), which makes ext4 write the data
/// out at once (auto_da_alloc); killed in between there is no file, so only for what may be missing.
Result<void> replace_file(const Folder& scratch, const Folder& folder, const std::string& name,
                          std::string_view content);

/// Removes what a killed process may have left in `scratch`.
void remove_leftovers(const Folder& scratch);

/// Reads folder/name, at most `limit` + 1 bytes (so that the caller sees that it is longer), and its mtime.
/// Errors: kNotFound, kSystem.
struct DatedContent {
  std::string content = {};
  timespec mtime = {};
};
Result<DatedContent> read_dated(const Folder& folder, const std::string& name, size_t limit);

/// unlink(2); absent is success.
Result<void> remove_file(const Folder& folder, const std::string& name);

}  // namespace slicer::ipam
