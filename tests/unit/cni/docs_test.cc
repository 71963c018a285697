// What docs/contract.md and docs/errors.md show is what the code does.

#include <doctest/doctest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "lib/base/whole_file.h"
#include "lib/cni/attachment.h"
#include "lib/cni/error.h"
#include "lib/cni/net_conf.h"
#include "lib/cni/result_versions.h"

namespace slicer::cni {
namespace {

std::string page(const std::string& name) { return read_file(SLICER_SOURCE_DIR "/docs/" + name).value(); }

// The blocks between ```json and ```.
std::vector<Json> json_blocks(const std::string& text) {
  constexpr std::string_view kOpen = "```json\n";
  std::vector<Json> blocks;
  for (size_t at = text.find(kOpen); at != std::string::npos; at = text.find(kOpen, at + 1)) {
    const size_t begin = at + kOpen.size();
    const std::string block = text.substr(begin, text.find("```", begin) - begin);
    CAPTURE(block);
    REQUIRE(parse_json(block).has_value());
    blocks.push_back(parse_json(block).value());
  }
  return blocks;
}

}  // namespace

TEST_CASE("docs/contract.md: the configuration is one, the results keep the contract, the names are the code's") {
  const std::string machine = "0123456789abcdef0123456789abcdef";
  std::vector<std::pair<std::string, std::string>> attachments{
      {"demo-1", "vmtap0"}, {"demo-1", "tap0"}, {"web-1", "eth0"}};
  size_t results = 0;
  for (const Json& block : json_blocks(page("contract.md"))) {
    if (block.contains("type")) CHECK(read_net_conf(block, Command::kAdd).has_value());
    if (!block.contains("interfaces")) continue;
    const CniResult result = parse_result(block).value();
    CHECK(result_json(result, "1.1.0").value() == block);
    REQUIRE(results < attachments.size());
    const Attachment attachment{"slicer", attachments[results].first, attachments[results].second};
    const Interface& guest = result.interfaces.back();
    CHECK(find_guest_interface(result, attachment.container_id).has_value() == (attachment.ifname != "eth0"));
    CHECK(guest.name == attachment.ifname);
    CHECK(guest.mac == attachment.guest_mac(machine).text());
    CHECK(result.ips.at(0).interface == static_cast<int>(result.interfaces.size()) - 1);
    if (result.interfaces[1].sandbox.empty()) CHECK(result.interfaces[1].name == attachment.kernel_name('v'));
    ++results;
  }
  CHECK(results == 3);
}

TEST_CASE("docs/errors.md: a row for every code that an error can have, and for no other") {
  std::set<int> given;
  for (int kind = 0; kind <= static_cast<int>(Kind::kDelegate); ++kind)
    given.insert(error_code({.kind = static_cast<Kind>(kind), .message = ""}));
  given.insert(error_code({.kind = Kind::kUnavailable, .message = "", .code = 51}));
  std::set<int> listed;
  const std::string text = page("errors.md");
  for (size_t at = text.find("\n| "); at != std::string::npos; at = text.find("\n| ", at + 1))
    if (text[at + 3] >= '0' && text[at + 3] <= '9') listed.insert(std::stoi(text.substr(at + 3)));
  CHECK(listed == given);
}

}  // namespace slicer::cni
