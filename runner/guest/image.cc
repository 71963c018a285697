#include "runner/guest/image.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <initializer_list>

#include "lib/base/whole_file.h"

namespace slicer::runner {
namespace {

constexpr const char* kHint =
    "make the demo image: sudo ./scripts/guest-image, in the sources or in /usr/share/slicer-cni; or name a kernel: "
    "--kernel FILE";

// The kernel's own limit is 2048 bytes on x86 (COMMAND_LINE_SIZE).
constexpr size_t kMaxCmdline = 2048;

std::string hint_for(const std::string& what) { return what == "kernel" ? kHint : "name a file: --" + what + " FILE"; }

// `what` is the option's name too. A directory or a device would only be found out behind the ADD.
Result<std::string> check_file(const std::string& what, const std::string& path) {
  const std::string action = "open " + what + " '" + path + "': ";
  struct stat info{};
  if (access(path.c_str(), R_OK) != 0 || stat(path.c_str(), &info) != 0)
    return fail(Kind::kNotFound, action + errno_text(errno), hint_for(what));
  if (S_ISREG(info.st_mode)) return path;
  if (what != "disk") return fail(Kind::kInvalidConfig, action + "not a regular file", hint_for(what));
  if (S_ISBLK(info.st_mode)) return path;
  return fail(Kind::kInvalidConfig, action + "neither a file nor a block device", hint_for(what));
}

// The first of the names that is in the folder; empty: none.
std::string find_file(const std::string& folder, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    std::string path = folder + "/" + name;
    if (access(path.c_str(), F_OK) == 0) return path;
  }
  return {};
}

Result<std::string> folder_cmdline(const std::string& folder) {
  Result<std::string> text = read_file(folder + "/cmdline", kMaxCmdline);
  if (!text && text.error().kind == Kind::kNotFound) return std::string();
  if (!text) return text;
  for (char& c : *text)
    if (c == '\n' || c == '\t') c = ' ';
  while (!text->empty() && text->back() == ' ') text->pop_back();
  return text;
}

Result<std::string> choose(const char* what, const std::optional<std::string>& given, const std::string& found) {
  if (given && given->empty()) return std::string();
  if (given) return check_file(what, *given);
  return found;
}

}  // namespace

Result<BootFiles> resolve_image(const std::string& folder, const ImageOverrides& overrides) {
  const bool from_folder = !overrides.kernel;
  const std::string kernel = from_folder ? find_file(folder, {"vmlinux", "kernel", "vmlinuz"}) : *overrides.kernel;
  if (kernel.empty()) return fail(Kind::kNotFound, "find a kernel in image '" + folder + "': not there", kHint);
  BootFiles files;
  files.kernel = TRY(check_file("kernel", kernel));
  files.initrd = TRY(choose("initrd", overrides.initrd, from_folder ? find_file(folder, {"initrd"}) : ""));
  files.disk = TRY(choose("disk", overrides.disk, from_folder ? find_file(folder, {"disk.img", "disk.qcow2"}) : ""));
  files.cmdline = overrides.cmdline ? *overrides.cmdline : TRY(folder_cmdline(folder));
  return files;
}

}  // namespace slicer::runner
