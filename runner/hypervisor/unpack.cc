#include "runner/hypervisor/unpack.h"

#include <fmt/format.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace slicer::runner {
namespace {

constexpr size_t kMaxUnpacked = size_t{1} << 30;  // what a small file may claim to be
constexpr size_t kPiece = size_t{1} << 20;

Error bad(std::string_view format, std::string_view why) {
  return {.kind = Kind::kDecode, .message = fmt::format("{}: {}", format, why)};
}

// Makes room for one more piece; false when there is too much already.
bool grow(std::string& text) {
  if (text.size() >= kMaxUnpacked) return false;
  text.resize(text.size() + kPiece);
  return true;
}

struct EndInflate {
  void operator()(z_stream* stream) const { (void)inflateEnd(stream); }
};

Result<std::string> unpack_gzip(std::string_view packed) {
  constexpr int kGzipOnly = 15 + 16;
  z_stream stream = {};
  if (inflateInit2(&stream, kGzipOnly) != Z_OK) return std::unexpected(bad("gzip", "no memory"));
  const std::unique_ptr<z_stream, EndInflate> end(&stream);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));  // zlib does not write there
  stream.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  for (;;) {
    const size_t before = text.size();
    if (!grow(text)) return std::unexpected(bad("gzip", "it grows beyond 1 GiB"));
    stream.next_out = reinterpret_cast<Bytef*>(text.data() + before);
    stream.avail_out = kPiece;
    const int result = inflate(&stream, Z_NO_FLUSH);
    text.resize(text.size() - stream.avail_out);
    if (result == Z_STREAM_END) return text;
    if (result != Z_OK) return std::unexpected(bad("gzip", stream.msg != nullptr ? stream.msg : "cut off"));
  }
}

struct EndLzma {
  void operator()(lzma_stream* stream) const { lzma_end(stream); }
};

Result<std::string> unpack_xz(std::string_view packed) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_stream_decoder(&stream, UINT64_MAX, 0) != LZMA_OK) return std::unexpected(bad("xz", "no memory"));
  const std::unique_ptr<lzma_stream, EndLzma> end(&stream);
  stream.next_in = reinterpret_cast<const uint8_t*>(packed.data());
  stream.avail_in = packed.size();
  std::string text;
  for (;;) {
    const size_t before = text.size();
    if (!grow(text)) return std::unexpected(bad("xz", "it grows beyond 1 GiB"));
    stream.next_out = reinterpret_cast<uint8_t*>(text.data() + before);
    stream.avail_out = kPiece;
    const lzma_ret result = lzma_code(&stream, LZMA_RUN);
    text.resize(text.size() - stream.avail_out);
    if (result == LZMA_STREAM_END) return text;
    if (result != LZMA_OK) return std::unexpected(bad("xz", result == LZMA_BUF_ERROR ? "cut off" : "damaged"));
  }
}

struct FreeZstd {
  void operator()(ZSTD_DCtx* context) const { (void)ZSTD_freeDCtx(context); }
};

Result<std::string> unpack_zstd(std::string_view packed) {
  const std::unique_ptr<ZSTD_DCtx, FreeZstd> context(ZSTD_createDCtx());
  if (!context) return std::unexpected(bad("zstd", "no memory"));
  // The kernel packs with a window of up to 128 MiB; the library's own limit is that by default.
  ZSTD_inBuffer in{.src = packed.data(), .size = packed.size(), .pos = 0};
  std::string text;
  for (;;) {
    const size_t before = text.size();
    if (!grow(text)) return std::unexpected(bad("zstd", "it grows beyond 1 GiB"));
    ZSTD_outBuffer out{.dst = text.data() + before, .size = kPiece, .pos = 0};
    const size_t left = ZSTD_decompressStream(context.get(), &out, &in);
    text.resize(before + out.pos);
    if (ZSTD_isError(left) != 0) return std::unexpected(bad("zstd", ZSTD_getErrorName(left)));
    if (left == 0) return text;
    if (in.pos == in.size && out.pos == 0) return std::unexpected(bad("zstd", "cut off"));
  }
}

// Blocks of 8 MiB, each with its packed length before it, and no mark at the end: what follows in a bzImage is the
// unpacked length. Source: LZ4, doc/lz4_Frame_format.md ("Legacy frame"); Linux, scripts/Makefile.lib.
Result<std::string> unpack_lz4(std::string_view packed) {
  constexpr size_t kBlock = size_t{8} << 20;
  std::string text;
  packed.remove_prefix(4);
  while (packed.size() >= 4) {
    uint32_t length = 0;
    for (size_t i = 4; i-- > 0;) length = length << 8U | static_cast<unsigned char>(packed[i]);
    packed.remove_prefix(4);
    if (packed.empty() || length == 0) break;  // it was the unpacked length
    if (length > packed.size() || length > static_cast<uint32_t>(LZ4_COMPRESSBOUND(kBlock)))
      return std::unexpected(bad("lz4", "cut off"));
    const size_t before = text.size();
    if (before >= kMaxUnpacked) return std::unexpected(bad("lz4", "it grows beyond 1 GiB"));
    text.resize(before + kBlock);
    const int count = LZ4_decompress_safe(packed.data(), text.data() + before, static_cast<int>(length), kBlock);
    if (count < 0) return std::unexpected(bad("lz4", "damaged"));
    text.resize(before + static_cast<size_t>(count));
    packed.remove_prefix(length);
  }
  return text;
}

}  // namespace

Result<std::string> unpack(std::string_view packed) {
  if (packed.starts_with("\x1f\x8b\x08")) return unpack_gzip(packed);
  if (packed.starts_with(std::string_view("\xfd"
                                          "7zXZ\0",
                                          6)))
    return unpack_xz(packed);
  if (packed.starts_with("\x28\xb5\x2f\xfd")) return unpack_zstd(packed);
  if (packed.starts_with("\x02\x21\x4c\x18")) return unpack_lz4(packed);
  return fail(Kind::kInvalidConfig, "packed neither by gzip, xz, zstd nor LZ4",
              "name an uncompressed kernel (vmlinux): --kernel FILE");
}

}  // namespace slicer::runner
