#pragma once
// An image folder: kernel (`vmlinux`, `kernel` or `vmlinuz`), `initrd`, `disk.img` or `disk.qcow2`, `cmdline`.

#include <optional>
#include <string>

#include "lib/base/result.h"
#include "runner/hypervisor/hypervisor.h"

namespace slicer::runner {

/// What the command line gave instead of the folder's files.
struct ImageOverrides {
  std::optional<std::string> kernel = {};
  std::optional<std::string> initrd = {};
  std::optional<std::string> disk = {};
  std::optional<std::string> cmdline = {};
};

/// The files to boot from; `cmdline` is the image's part of the kernel's command line. With --kernel nothing but the
/// command line is taken from the folder, since an initrd belongs to its kernel. Every file is checked to be there.
/// Errors: kNotFound with the file and how to get one.
Result<BootFiles> resolve_image(const std::string& folder, const ImageOverrides& overrides);

}  // namespace slicer::runner
