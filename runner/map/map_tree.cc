#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runner/map/host_map.h"
#include "runner/view/colour.h"

namespace slicer::runner {
namespace {

struct Strokes {
  const char* fork;
  const char* last;
  const char* pass;
  const char* line;
  const char* pair;  ///< a veth pair
  const char* dot;
};
constexpr Strokes kUtf8 = {
    .fork = "├── ", .last = "└── ", .pass = "│   ", .line = " ── ", .pair = " ═══ ", .dot = " · "};
constexpr Strokes kAscii = {
    .fork = "|-- ", .last = "`-- ", .pass = "|   ", .line = " -- ", .pair = " === ", .dot = ", "};

// Names may be anything that a link or an alias can have; a terminal gets no control characters.
std::string plain(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  return text;
}

class Tree {
 public:
  explicit Tree(const TreeStyle& style) : style_(style), strokes_(style.utf8 ? kUtf8 : kAscii) {}

  std::string text(const HostMap& map) const {
    std::string text = bold("host " + plain(map.host)) + "\n";
    if (map.anchors.empty()) return text + strokes_.last + "no VM networks\n";
    for (size_t i = 0; i < map.anchors.size(); ++i) add_anchor(map.anchors[i], i + 1 == map.anchors.size(), text);
    return text;
  }

 private:
  [[nodiscard]] std::string bold(const std::string& text) const {
    return style_.colours ? coloured(text, Colour::kBold) : text;
  }

  [[nodiscard]] std::string head(const MapAnchor& anchor) const {
    std::string text;
    switch (anchor.kind) {
      case AnchorKind::kBridge:
        text = bold("bridge " + plain(anchor.name));
        break;
      case AnchorKind::kParent:
        text = bold(plain(anchor.name)) + ", parent of macvtaps";
        break;
      case AnchorKind::kRouted:
        text = bold("routed") + " by the host, each VM apart";
        break;
      case AnchorKind::kNone:
        return bold("without a link");
    }
    for (const std::string& address : anchor.addresses) text += strokes_.dot + plain(address);
    if (!anchor.networks.empty())
      text += strokes_.dot + plain(fmt::format("network{} {}", anchor.networks.size() == 1 ? "" : "s",
                                               fmt::join(anchor.networks, ", ")));
    if (anchor.default_route) text += std::string(strokes_.dot) + "default route";
    if (!anchor.up) text += std::string(strokes_.dot) + "down";
    return text;
  }

  void add_anchor(const MapAnchor& anchor, bool last, std::string& text) const {
    text += (last ? strokes_.last : strokes_.fork) + head(anchor) + "\n";
    const std::string before = last ? "    " : strokes_.pass;
    if (anchor.branches.empty()) text += before + strokes_.last + "nobody\n";
    for (size_t i = 0; i < anchor.branches.size(); ++i)
      text += before + (i + 1 == anchor.branches.size() ? strokes_.last : strokes_.fork) + branch(anchor.branches[i]) +
              "\n";
  }

  [[nodiscard]] std::string links(const VmPath& path) const {
    std::string text = plain(path.host_link);
    if (path.netns.empty()) return text;
    if (!text.empty()) text += strokes_.pair;
    text += "[" + plain(path.netns);
    if (!path.inner_veth.empty()) text += " " + plain(path.inner_veth) + (path.tap.empty() ? "" : strokes_.line);
    if (!path.tap.empty()) text += (path.inner_veth.empty() ? " " : "") + plain(path.tap);
    if (path.tap_kind == "macvtap") text += " macvtap " + path.mode;
    return text + "]";
  }

  [[nodiscard]] std::string branch(const MapBranch& branch) const {
    const std::string way = links(branch.path);
    if (!branch.vm)
      return way + (branch.path.tap_kind.empty() ? "" : " (" + branch.path.tap_kind + ")") +
             (branch.owner.empty() ? "" : strokes_.dot + plain(branch.owner));
    const MapVm& vm = *branch.vm;
    const std::string state = style_.colours ? coloured(vm.state, colour_of_state(vm.state)) : vm.state;
    std::string text = way.empty() ? "" : way + strokes_.line;
    text += bold(plain(vm.name)) + strokes_.dot + state;
    for (const std::string& address : vm.addresses) text += strokes_.dot + plain(address);
    if (!vm.policy.empty()) text += strokes_.dot + vm.policy;
    if (branch.path.anchor_kind == AnchorKind::kNone) text += strokes_.dot + plain("network " + vm.network);
    return text;
  }

  TreeStyle style_;
  Strokes strokes_;
};

}  // namespace

std::string map_tree(const HostMap& map, const TreeStyle& style) { return Tree(style).text(map); }

}  // namespace slicer::runner
