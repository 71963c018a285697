#pragma once
// vm cp: files and folders into a guest and out of it, as a tar stream through SSH.

#include <string>

#include "lib/base/result.h"
#include "runner/settings.h"
#include "runner/ssh/ssh_command.h"

namespace slicer::runner {

/// One side of a copy.
struct CopyEnd {
  std::string vm = {};  ///< empty: this machine
  std::string path = {};
};

/// "demo-1:/etc/hosts", "demo-1:" (the user's home), "./a:b", "file". What stands before the first ':' is a VM's name
/// unless a '/' comes before it.
CopyEnd parse_copy_end(const std::string& text);

/// What is copied and whereto, in one direction. Permissions and times are kept; owners are the copying user. A target
/// that is a folder gets the source in it, any other name becomes the source's; "SOURCE/." is a folder's content.
struct CopyWish {
  std::string vm = {};
  std::string source = {};
  std::string target = {};
  SshWish ssh = {};
};

/// Errors: kNotFound, kSystem, and kIo when tar or ssh failed, which have said why.
Result<void> copy_in(const Settings& settings, const CopyWish& wish);
/// What comes out of a guest is unpacked into a new folder beside the target and looked through before it gets its
/// name: no devices, no setuid or setgid bits, and nothing outside of that folder.
Result<void> copy_out(const Settings& settings, const CopyWish& wish);

/// A source as tar takes it.
struct CopySource {
  std::string folder = {};  ///< where tar stands
  std::string name = {};    ///< what it takes there; ".": the content of the folder
};
CopySource split_source(const std::string& path);

}  // namespace slicer::runner
