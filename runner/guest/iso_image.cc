#include "runner/guest/iso_image.h"

#include <sys/types.h>

#include <cstdint>

#define LIBISOFS_WITHOUT_LIBBURN yes
#include <libisofs/libisofs.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

namespace slicer::runner {
namespace {

struct Closer {
  void operator()(IsoImage* image) const { iso_image_unref(image); }
  void operator()(IsoWriteOpts* options) const { iso_write_opts_free(options); }
  void operator()(burn_source* source) const {
    source->free_data(source);
    std::free(source);  // NOLINT(cppcoreguidelines-no-malloc): the library's
  }
};
template <class T>
using Owned = std::unique_ptr<T, Closer>;

Result<void> check(int code, const char* step) {
  if (code >= 0) return {};
  return fail(Kind::kInternal, std::string("make an ISO image: ") + step + ": " + iso_error_to_msg(code));
}

Result<void> add_file(IsoDir* folder, const IsoFile& file) {
  // The stream frees it; malloc(0) may be null, which it takes for a failure.
  auto* bytes = static_cast<unsigned char*>(std::malloc(file.content.size() + 1));  // NOLINT(*-no-malloc)
  if (bytes == nullptr) return fail(Kind::kSystem, "make an ISO image: no memory");
  std::ranges::copy(file.content, bytes);
  IsoStream* stream = nullptr;
  if (const int code = iso_memory_stream_new(bytes, file.content.size(), &stream); code < 0) {
    std::free(bytes);  // NOLINT(cppcoreguidelines-no-malloc)
    return check(code, "a file's content");
  }
  if (const int code = iso_tree_add_new_file(folder, file.name.c_str(), stream, nullptr); code < 0) {
    iso_stream_unref(stream);
    return check(code, file.name.c_str());
  }
  return {};
}

Result<std::string> read_all(burn_source& source) {
  std::string bytes;
  std::array<unsigned char, 2048> block = {};
  for (;;) {
    const int count = source.read_xt(&source, block.data(), block.size());
    if (count < 0) return fail(Kind::kInternal, "make an ISO image: its writer stopped");
    if (count == 0) return bytes;
    bytes.append(reinterpret_cast<const char*>(block.data()), static_cast<size_t>(count));
  }
}

}  // namespace

Result<std::string> iso_image(const std::string& label, const std::vector<IsoFile>& files) {
  TRY(check(iso_init(), "begin"));
  IsoImage* raw_image = nullptr;
  TRY(check(iso_image_new(label.c_str(), &raw_image), "begin"));
  const Owned<IsoImage> image(raw_image);
  for (const IsoFile& file : files) TRY(add_file(iso_image_get_root(image.get()), file));

  IsoWriteOpts* raw_options = nullptr;
  TRY(check(iso_write_opts_new(&raw_options, 0), "options"));
  const Owned<IsoWriteOpts> options(raw_options);
  TRY(check(iso_write_opts_set_rockridge(options.get(), 1), "options"));
  TRY(check(iso_write_opts_set_joliet(options.get(), 1), "options"));
  TRY(check(iso_write_opts_set_relaxed_vol_atts(options.get(), 1), "options"));  // small letters in the label
  TRY(check(iso_write_opts_set_fifo_size(options.get(), 32), "options"));        // blocks of 2 KiB, not 2 MiB

  burn_source* raw_source = nullptr;
  TRY(check(iso_image_create_burn_source(image.get(), options.get(), &raw_source), "begin to write"));
  const Owned<burn_source> source(raw_source);
  return read_all(*source);
}

}  // namespace slicer::runner
