#include "runner/supervisor/report.h"

#include <unistd.h>

#include "lib/base/whole_file.h"
#include "lib/cni/fields.h"

namespace slicer::runner {
namespace {

constexpr size_t kMaxReport = size_t{4} << 20;  // the record holds the network's list

}  // namespace

bool send_report(const UniqueFd& pipe, const Result<VmRecord>& report) {
  const std::string text = report ? record_text(*report)
                                  : cni::dump_json({{"error", report.error().message}, {"hint", report.error().hint}});
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t count = write(pipe.get(), rest.data(), rest.size());
    if (count < 0) return false;
    rest.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

Result<VmRecord> receive_report(const UniqueFd& pipe) {
  const std::string text = TRY(read_fd(pipe.get(), kMaxReport));
  if (text.empty()) return fail(Kind::kInternal, "the VM's supervisor ended without a word", "run slicer-run gc");
  const cni::Json json = TRY(cni::parse_json(text));
  const std::string error = TRY(cni::string_field(json, "error"));
  if (!error.empty()) return fail(Kind::kInternal, error, TRY(cni::string_field(json, "hint")));
  return parse_record(text);
}

}  // namespace slicer::runner
