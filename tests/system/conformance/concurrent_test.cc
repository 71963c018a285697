// Section 3, what it asks of plugins.
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "tests/system/conformance/requirement.h"

namespace slicer::test::conformance {
namespace {

constexpr int kAtOnce = 6;

std::string id_of(int number) { return "vm-" + std::to_string(number); }

/// Calls the verb for all containers at the same time; the answers, "" of one that failed.
std::vector<std::string> at_once(Stage& stage, const std::string& verb, const std::vector<Json>& confs) {
  std::filesystem::create_directories("/run/answers");
  const auto file = [&](int number) { return "/run/answers/" + verb + id_of(number); };
  std::vector<std::unique_ptr<Background>> calls;
  for (int i = 0; i < kAtOnce; ++i) {
    const Call call = stage.call(verb, id_of(i));
    calls.push_back(std::make_unique<Background>([&stage, &confs, &file, call, i] {
      const Answer answer = stage.run(confs[static_cast<size_t>(i)], call);
      std::ofstream(file(i) + ".new") << (answer.ok() ? "+" + answer.out : "-" + answer.text());
      std::filesystem::rename(file(i) + ".new", file(i));
    }));
  }
  std::vector<std::string> answers;
  for (int i = 0; i < kAtOnce; ++i) {
    if (!eventually([&] { return std::filesystem::exists(file(i)); }, std::chrono::seconds(30)))
      give_up(verb + " of " + id_of(i) + " hangs");
    std::ifstream in(file(i));
    answers.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return answers;
}

}  // namespace

CONFORMANCE(concurrent, "3 Lifecycle & Ordering", "MUST", "plugins are run for several containers at once", every,
            {.broken_by = {"fail=ADD", "fail=DEL", R"(out:/ips/0/address="192.0.2.2/24")"}}) {
  std::vector<Json> confs;
  for (int i = 0; i < kAtOnce; ++i) confs.push_back(stage.conf(kNewest, id_of(i)));
  std::set<std::string> addresses;
  for (const std::string& answer : at_once(stage, "ADD", confs)) {
    verdict.require(answer.starts_with("+"), "an ADD failed: " + answer);
    addresses.insert(address_of(Json::parse(answer.substr(1)), 4));
  }
  verdict.expect(addresses.size() == kAtOnce, "one address was given twice");
  for (const std::string& answer : at_once(stage, "DEL", confs))
    verdict.expect(answer.starts_with("+"), "a DEL failed: " + answer);
  for (int i = 0; i < kAtOnce && !chained(stage.subject()); ++i)
    verdict.expect(!Stage::has_lease(id_of(i)), "an address is left of " + id_of(i));
}

}  // namespace slicer::test::conformance
