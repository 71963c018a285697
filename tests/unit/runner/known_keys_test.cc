#include "runner/doctor/known_keys.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <regex>
#include <set>
#include <sstream>

#include "lib/base/whole_file.h"

using slicer::cni::Json;
using namespace slicer::runner::doctor;

namespace {

std::string told(const Json& plugin) {
  std::string text;
  for (const NearMiss& one : near_misses(plugin)) text += one.key + "->" + one.meant + " ";
  return text;
}

/// The keys of the first table under "## Keys" in a plugin's page: those without a dot are its own.
std::set<std::string> documented(const std::string& plugin) {
  std::istringstream page(slicer::read_file(SLICER_DOCS + ("/" + plugin + ".md")).value());
  std::set<std::string> keys;
  bool in_keys = false, in_table = false;
  for (std::string line; std::getline(page, line);) {
    if (line.starts_with("## ")) in_keys = line.starts_with("## Keys");
    if (!in_keys) continue;
    if (in_table && !line.starts_with("|")) break;
    if (!line.starts_with("| `")) continue;
    in_table = true;
    const std::string cell = line.substr(1, line.find('|', 1) - 1);
    const std::regex key("`([A-Za-z]+)`");
    for (std::sregex_iterator at(cell.begin(), cell.end(), key), end; at != end; ++at) keys.insert((*at)[1]);
  }
  keys.erase("ipam");
  return keys;
}

}  // namespace

TEST_CASE("known keys: what the plugins' pages have") {
  for (const char* plugin :
       {"slicer-bridge", "slicer-isolated", "slicer-macvtap", "slicer-tap", "slicer-firewall", "slicer-ipam"}) {
    CAPTURE(plugin);
    const auto keys = keys_of(plugin);
    const std::set<std::string> known(keys.begin(), keys.end());
    const std::set<std::string> page = documented(plugin);
    std::vector<std::string> differ;
    std::ranges::set_symmetric_difference(known, page, std::back_inserter(differ));
    CHECK(differ == std::vector<std::string>{});
  }
}

TEST_CASE("near misses: a slip of the pen is told, other people's keys are not") {
  CHECK(
      told(Json::parse(R"({"type": "slicer-bridge", "isgateway": true, "isGatway": true, "ipMask": true, "bridge": "b",
    "ipam": {"type": "slicer-ipam", "subnett": "192.0.2.0/24", "rangeStrat": "192.0.2.9"}})")) ==
      "ipMask->ipMasq isGatway->isGateway ipam.rangeStrat->rangeStart ipam.subnett->subnet ");
  CHECK(
      told(Json::parse(
          R"({"type": "slicer-bridge", "comment": "x", "cni.dev/x": 1, "ipam": {"type": "host-local", "subnett": 1}})")) ==
      "");
  CHECK(told(Json::parse(R"({"type": "slicer-isolated", "rang": "192.0.2.0/24", "ipam": {"datadi": "/x"}})")) ==
        "rang->range ipam.datadi->dataDir ");
  CHECK(told(Json::parse(R"({"type": "slicer-firewall", "drops": [], "alow": []})")) == "alow->allow drops->drop ");
  CHECK(told(Json::parse(R"({"type": "bridge", "isgateway": true})")) == "");
  CHECK(told(Json::parse("[]")) == "");
}
