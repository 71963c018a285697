#include <doctest/doctest.h>

#include "runner/map/host_map.h"
#include "runner/map/xml_text.h"

namespace slicer::runner {
namespace {

HostMap example() {
  const VmPath on_host = {.tap = "vmtap0",
                          .tap_kind = "tap",
                          .up = true,
                          .host_link = "vmtap0",
                          .anchor_kind = AnchorKind::kBridge,
                          .anchor = "slicer0"};
  const VmPath macvtap = {.tap = "tap0",
                          .tap_kind = "macvtap",
                          .mode = "bridge",
                          .up = true,
                          .netns = "slicer-lan-1",
                          .anchor_kind = AnchorKind::kParent,
                          .anchor = "eth0"};
  const VmPath isolated = {.tap = "tap0",
                           .tap_kind = "tap",
                           .up = true,
                           .netns = "slicer-iso-1",
                           .inner_veth = "slp7",
                           .host_link = "slh7",
                           .anchor_kind = AnchorKind::kRouted};
  const auto vm = [](const char* name, const char* network, const char* address, const char* policy) {
    return MapVm{.name = name, .state = "running", .network = network, .addresses = {address}, .policy = policy};
  };
  return {
      .host = "alpha",
      .anchors = {{.kind = AnchorKind::kBridge,
                   .name = "slicer0",
                   .addresses = {"192.0.2.1/24"},
                   .networks = {"slicer"},
                   .branches = {{.path = on_host, .vm = vm("demo-1", "slicer", "192.0.2.2/24", "no lists")},
                                {.path = {.tap_kind = "veth", .up = true, .host_link = "eth9"}, .owner = "<other>"}}},
                  {.kind = AnchorKind::kParent,
                   .name = "eth0",
                   .addresses = {"198.51.100.2/24"},
                   .networks = {"lan"},
                   .default_route = true,
                   .branches = {{.path = macvtap, .vm = vm("lan-1", "lan", "198.51.100.220/24", "")}}},
                  {.kind = AnchorKind::kRouted,
                   .networks = {"iso"},
                   .branches = {{.path = isolated, .vm = vm("iso-1", "iso", "169.254.100.2/30", "allow all but 3")}}},
                  {.kind = AnchorKind::kNone,
                   .branches = {{.vm = MapVm{.name = "old-1", .state = "stopped", .network = "slicer"}}}}}};
}

size_t count(const std::string& text, const std::string& part) {
  size_t found = 0;
  for (size_t at = 0; (at = text.find(part, at)) != std::string::npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST_CASE("map: a tree for a terminal") {
  CHECK(map_tree(example(), {.utf8 = true}) ==
        "host alpha\n"
        "├── bridge slicer0 · 192.0.2.1/24 · network slicer\n"
        "│   ├── vmtap0 ── demo-1 · running · 192.0.2.2/24 · no lists\n"
        "│   └── eth9 (veth) · <other>\n"
        "├── eth0, parent of macvtaps · 198.51.100.2/24 · network lan · default route\n"
        "│   └── [slicer-lan-1 tap0 macvtap bridge] ── lan-1 · running · 198.51.100.220/24\n"
        "├── routed by the host, each VM apart · network iso\n"
        "│   └── slh7 ═══ [slicer-iso-1 slp7 ── tap0] ── iso-1 · running · 169.254.100.2/30 · allow all but 3\n"
        "└── without a link\n"
        "    └── old-1 · stopped · network slicer\n");
  CHECK(map_tree({.host = "beta"}, {.utf8 = false}) == "host beta\n`-- no VM networks\n");
  const std::string ascii = map_tree(example(), {.utf8 = false});
  for (const char c : ascii) CHECK(static_cast<unsigned char>(c) < 0x80);
  CHECK(ascii.find("|   `-- slh7 === [slicer-iso-1 slp7 -- tap0] -- iso-1, running") != std::string::npos);
}

TEST_CASE("map: colours, and no control characters of others") {
  HostMap map = example();
  map.anchors[0].branches[1].owner = "\033[2Jx";
  const std::string tree = map_tree(map, {.utf8 = true, .colours = true});
  CHECK(tree.find("\033[32mrunning\033[0m") != std::string::npos);
  CHECK(tree.find("\033[2J") == std::string::npos);
}

TEST_CASE("map: the picture has every name, escaped, and its tags are closed") {
  const std::string svg = map_svg(example());
  for (const char* name : {"alpha", "slicer0", "demo-1", "192.0.2.2/24", "lan-1", "slicer-iso-1", "iso-1", "old-1",
                           "&lt;other&gt;", "allow all but 3"})
    CHECK_MESSAGE(svg.find(name) != std::string::npos, name);
  CHECK(svg.find("<other>") == std::string::npos);
  for (const char* tag : {"svg", "text", "style"})
    CHECK(count(svg, std::string("<") + tag + " ") == count(svg, std::string("</") + tag + ">"));
  CHECK(svg.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg "));
}

TEST_CASE("map: text in XML") {
  CHECK(xml_text("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&apos;");
  CHECK(xml_text("n\xc3\xa4he …") == "n\xc3\xa4he …");
  CHECK(xml_text(std::string_view("a\x01\x7f\0b", 5)) == "a???b");
  CHECK(xml_text("\xff\xc3") == "??");       // no UTF-8
  CHECK(xml_text("\xc0\xaf") == "??");       // overlong
  CHECK(xml_text("\xed\xa0\x80") == "???");  // a surrogate
  CHECK(xml_text("\xf0\x9f\x98\x80") == "\xf0\x9f\x98\x80");
}

}  // namespace slicer::runner
