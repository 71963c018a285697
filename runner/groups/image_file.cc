#include "runner/groups/image_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>

#include "lib/base/whole_file.h"
#include "runner/groups/section.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxFile = size_t{64} << 10;

std::string absolute(const std::string& file, const std::string& path) {
  if (path.empty() || path.front() == '/') return path;
  return file.substr(0, file.rfind('/') + 1) + path;
}

Result<std::string> read_path(const Section& section, const char* key, const std::string& file) {
  return absolute(file, TRY(section.text(key)));
}

Result<GroupImage> read_parts(const std::string& file) {
  const YamlValue root = TRY(parse_yaml(TRY(read_file(file, kMaxFile)), file));
  const Section section = TRY(Section::open(file, root, "", image_keys()));
  GroupImage image;
  image.parts.kernel = TRY(read_path(section, "kernel", file));
  if (image.parts.kernel->empty()) return section.bad("kernel", "is missing: an image file needs one");
  image.parts.initrd = TRY(read_path(section, "initrd", file));
  image.parts.disk = TRY(read_path(section, "disk", file));
  image.parts.cmdline = TRY(section.text("cmdline"));
  return image;
}

}  // namespace

Result<GroupImage> read_group_image(const std::string& path) {
  GroupImage image;
  image.folder = path;
  if (path.empty()) return image;
  struct stat info{};
  if (stat(path.c_str(), &info) != 0)
    return fail(Kind::kNotFound, fmt::format("find image '{}': {}", path, errno_text(errno)),
                "make one with scripts/guest-image, or leave \"image\" out for the demo image");
  if (S_ISDIR(info.st_mode)) return image;
  if (path.ends_with(".yaml") || path.ends_with(".yml")) return read_parts(path);
  return fail(Kind::kInvalidConfig, fmt::format("read image '{}': neither a folder nor a YAML file", path),
              "name the parts in a file that ends in .yaml: kernel: …, and initrd, disk, cmdline where there are any");
}

}  // namespace slicer::runner
