#pragma once
// What doctor finds.

#include <string>
#include <utility>
#include <vector>

namespace slicer::runner::doctor {

enum class Level {
  kOk,
  kWarn,  ///< works, or nobody can tell from here, but see to it
  kFail,  ///< a VM cannot start, or does not get its network
};
const char* level_name(Level level);

struct Finding {
  Level level = Level::kOk;
  std::string check = {};   ///< a short fixed name, for --json and docs/operations.md: "tun", "pool"
  std::string what = {};    ///< what it is, with the object named
  std::string remedy = {};  ///< what to do; empty when ok
};

/// Collects them in the order of the checks.
class Findings {
 public:
  void ok(std::string check, std::string what) { add({Level::kOk, std::move(check), std::move(what), {}}); }
  void warn(std::string check, std::string what, std::string remedy) {
    add({Level::kWarn, std::move(check), std::move(what), std::move(remedy)});
  }
  void fail(std::string check, std::string what, std::string remedy) {
    add({Level::kFail, std::move(check), std::move(what), std::move(remedy)});
  }
  void add(Finding finding) { all_.push_back(std::move(finding)); }
  [[nodiscard]] const std::vector<Finding>& all() const { return all_; }
  [[nodiscard]] size_t count(Level level) const;

 private:
  std::vector<Finding> all_;
};

}  // namespace slicer::runner::doctor
