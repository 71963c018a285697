#include "runner/hypervisor/accelerator.h"

#include <doctest/doctest.h>

namespace slicer::runner {
namespace {

constexpr const char* kIntel = "processor\t: 0\nmodel name\t: some vmx\nflags\t\t: fpu vme vmx smx\nbugs\t\t:\n";
constexpr const char* kAmd = "processor\t: 0\nflags\t\t: fpu svm\n";
// "svm_lock" and a model name are no flags of that name.
constexpr const char* kNeither =
    "processor\t: 0\nmodel name\t: vmx svm\nflags\t\t: fpu svm_lock novmx\nvmx flags\t: vnmi\n";

}  // namespace

TEST_CASE("why_no_kvm: on x86 vmx or svm must be among the processor's flags") {
  CHECK(why_no_kvm({.cpuinfo = kIntel}) == "");
  CHECK(why_no_kvm({.cpuinfo = kAmd}) == "");
  CHECK(why_no_kvm({.cpuinfo = kNeither}) == "the processor has neither vmx nor svm in /proc/cpuinfo");
  CHECK(why_no_kvm({.cpuinfo = ""}) != "");
}

TEST_CASE("why_no_kvm: flags alone are not enough, /dev/kvm must make a machine") {
  CHECK(why_no_kvm({.cpuinfo = kIntel, .kvm_error = "open '/dev/kvm': no"}) == "open '/dev/kvm': no");
}

TEST_CASE("why_no_kvm: other processors have no such flag, only /dev/kvm counts") {
  CHECK(why_no_kvm({.x86 = false, .cpuinfo = "Features\t: fp asimd\n"}) == "");
  CHECK(why_no_kvm({.x86 = false, .cpuinfo = "Features\t: fp asimd\n", .kvm_error = "no"}) == "no");
}

TEST_CASE("choose_accelerator: auto is KVM where it works and TCG elsewhere") {
  CHECK(choose_accelerator(Accelerator::kAuto, {.cpuinfo = kAmd}) == Accelerator::kKvm);
  CHECK(choose_accelerator(Accelerator::kAuto, {.cpuinfo = kNeither}) == Accelerator::kTcg);
  CHECK(choose_accelerator(Accelerator::kTcg, {.cpuinfo = kAmd}) == Accelerator::kTcg);
}

TEST_CASE("choose_accelerator: KVM that does not work is refused when it is asked for") {
  const auto chosen = choose_accelerator(Accelerator::kKvm, {.cpuinfo = kNeither});
  REQUIRE_FALSE(chosen);
  CHECK(chosen.error().message == "use acceleration 'kvm': the processor has neither vmx nor svm in /proc/cpuinfo");
}

TEST_CASE("parse_accelerator: names what is allowed") {
  CHECK(parse_accelerator("kvm") == Accelerator::kKvm);
  CHECK(parse_accelerator("hvf").error().hint == "use auto, kvm or tcg");
}

}  // namespace slicer::runner
