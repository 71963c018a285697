#include "runner/doctor/finding.h"

#include <algorithm>

namespace slicer::runner::doctor {

const char* level_name(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarn:
      return "warn";
    case Level::kFail:
      break;
  }
  return "fail";
}

size_t Findings::count(Level level) const {
  return static_cast<size_t>(std::ranges::count(all_, level, &Finding::level));
}

}  // namespace slicer::runner::doctor
