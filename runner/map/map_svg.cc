#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "runner/map/host_map.h"
#include "runner/map/xml_text.h"

namespace slicer::runner {
namespace {

// Pixels. Four columns: what is on the host, the wire to it, the VM's namespace, the VM.
constexpr int kMargin = 24;
constexpr int kTitleHeight = 44;
constexpr int kLine = 17;      // of text
constexpr int kPadding = 10;   // inside a box
constexpr int kBetween = 12;   // branches
constexpr int kGroupGap = 26;  // anchors
constexpr int kAnchorX = kMargin;
constexpr int kAnchorWidth = 230;
constexpr int kWireX = kAnchorX + kAnchorWidth;
constexpr int kWireWidth = 190;
constexpr int kNetnsX = kWireX + kWireWidth;
constexpr int kNetnsWidth = 220;
constexpr int kVmX = kNetnsX + kNetnsWidth + 60;
constexpr int kVmWidth = 330;
constexpr int kStateRoom = 24;  // its dot
constexpr int kWidth = kVmX + kVmWidth + kMargin;

constexpr const char* kStyle =
    "text{font:13px 'DejaVu Sans',Verdana,sans-serif;fill:#1c2530}"
    ".title{font-size:17px;font-weight:bold}.name{font-weight:bold}.small{font-size:12px;fill:#45525f}"
    ".box{fill:#ffffff;stroke:#45525f;stroke-width:1.2}.bridge{fill:#e3eefb;stroke:#2f6db5}"
    ".parent{fill:#fdf1dc;stroke:#b57a1f}.routed{fill:#e6f4e6;stroke:#3f8a43}.none{fill:#f0f0f0;stroke:#8a8a8a}"
    ".netns{fill:#fafafa;stroke:#7a8794;stroke-dasharray:5 3}"
    ".wire{stroke:#45525f;stroke-width:1.5;fill:none}.off{stroke-dasharray:2 4}";

const char* fill_of_state(const std::string& state) {
  if (state == "running") return "#2e9e44";
  if (state == "dead" || state.ends_with("no link")) return "#cf3030";
  return state == "stopped" ? "#9aa3ab" : "#e0a21b";
}

struct Line {
  std::string text = {};
  const char* style = "";
};

class Picture {
 public:
  std::string draw(const HostMap& map) {
    text(kAnchorX, kMargin + 16, {"VM networks of " + map.host, "title"}, kWidth);
    y_ = kMargin + kTitleHeight;
    if (map.anchors.empty()) {
      text(kAnchorX, y_, {"no VM networks", "small"}, kWidth);
      y_ += kLine;
    }
    for (const MapAnchor& anchor : map.anchors) draw_anchor(anchor);
    const int height = y_ + kMargin;
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
        "<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"{0}\" height=\"{1}\" "
        "viewBox=\"0 0 {0} {1}\">\n"
        "<style type=\"text/css\">{2}</style>\n"
        "<rect x=\"0\" y=\"0\" width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n{3}</svg>\n",
        kWidth, height, kStyle, body_);
  }

 private:
  // One that is too long for its place is cut; whoever points at it sees all of it.
  void text(int x, int baseline, const Line& line, int width) {
    const auto room = static_cast<size_t>(std::max(width / 8, 4));
    std::string shown = line.text;
    std::string title;
    if (shown.size() > room) {
      size_t end = room - 1;
      while (end > 0 && (static_cast<unsigned char>(shown[end]) & 0xc0U) == 0x80) --end;  // not inside a character
      title = "<title>" + xml_text(shown) + "</title>";
      shown = shown.substr(0, end) + "…";
    }
    body_ += fmt::format("<text x=\"{}\" y=\"{}\" class=\"{}\">{}{}</text>\n", x, baseline, line.style, xml_text(shown),
                         title);
  }

  void box(int x, int y, int width, int height, const char* style) {
    body_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" class=\"box {}\"/>\n", x, y,
                         width, height, style);
  }

  void wire(int from, int to, int y, bool up) {
    body_ += fmt::format("<path d=\"M{} {}H{}\" class=\"wire{}\"/>\n", from, y, to, up ? "" : " off");
  }

  void lines(int x, int y, const std::vector<Line>& all, int width) {
    int baseline = y + kPadding + kLine - 5;
    for (const Line& line : all) {
      text(x + kPadding, baseline, line, width - 2 * kPadding);
      baseline += kLine;
    }
  }

  static int box_height(size_t line_count) { return static_cast<int>(line_count) * kLine + 2 * kPadding; }

  static std::vector<Line> anchor_lines(const MapAnchor& anchor) {
    std::vector<Line> all;
    switch (anchor.kind) {
      case AnchorKind::kBridge:
        all = {{anchor.name, "name"}, {"bridge", "small"}};
        break;
      case AnchorKind::kParent:
        all = {{anchor.name, "name"}, {"parent of macvtaps", "small"}};
        break;
      case AnchorKind::kRouted:
        all = {{"routed", "name"}, {"by the host, each VM apart", "small"}};
        break;
      case AnchorKind::kNone:
        return {{"without a link", "name"}};
    }
    if (!anchor.up) all.back().text += ", down";
    if (anchor.default_route) all.push_back({"the host's default route", "small"});
    for (const std::string& address : anchor.addresses) all.push_back({address, "small"});
    if (!anchor.networks.empty())
      all.push_back(
          {fmt::format("network{} {}", anchor.networks.size() == 1 ? "" : "s", fmt::join(anchor.networks, ", ")),
           "small"});
    return all;
  }

  static std::vector<Line> vm_lines(const MapBranch& branch) {
    if (!branch.vm) return {{branch.owner.empty() ? "not of slicer-run" : branch.owner, "small"}};
    const MapVm& vm = *branch.vm;
    std::vector<Line> all = {{vm.name, "name"}};
    all.push_back({fmt::format("{}, network {}{}", vm.state, vm.network, vm.group.empty() ? "" : ", group " + vm.group),
                   "small"});
    for (const std::string& address : vm.addresses) all.push_back({address, ""});
    if (!vm.policy.empty()) all.push_back({vm.policy, "small"});
    return all;
  }

  static std::vector<Line> netns_lines(const VmPath& path) {
    std::vector<Line> all = {{path.netns, "small"}};
    std::string inside = path.inner_veth;
    if (!path.tap.empty()) inside += (inside.empty() ? "" : " ↔ ") + path.tap;
    if (path.tap_kind == "macvtap") inside += " (macvtap, " + path.mode + ")";
    if (!inside.empty()) all.push_back({inside, ""});
    return all;
  }

  static int branch_height(const MapBranch& branch) {
    return box_height(std::max<size_t>(vm_lines(branch).size(), branch.path.netns.empty() ? 1 : 2));
  }

  void draw_branch(const MapBranch& branch, int height) {
    const int middle = y_ + height / 2;
    const VmPath& path = branch.path;
    const bool linked = path.anchor_kind != AnchorKind::kNone;
    const int wire_end = path.netns.empty() ? kVmX : kNetnsX;
    if (linked) {
      wire(kWireX, wire_end, middle, path.up || path.tap.empty());
      if (path.anchor_kind != AnchorKind::kParent)
        text(kWireX + kPadding, middle - 6,
             {path.host_link + (path.netns.empty() ? " (" + path.tap_kind + ")" : " (veth)"), "small"},
             wire_end - kWireX - 2 * kPadding);
    }
    if (!path.netns.empty()) {
      const std::vector<Line> inside = netns_lines(path);
      const int own = box_height(inside.size());
      box(kNetnsX, middle - own / 2, kNetnsWidth, own, "netns");
      lines(kNetnsX, middle - own / 2, inside, kNetnsWidth);
      if (!path.tap.empty()) wire(kNetnsX + kNetnsWidth, kVmX, middle, path.up);
    }
    box(kVmX, y_, kVmWidth, height, branch.vm ? "" : "none");
    lines(kVmX, y_, vm_lines(branch), kVmWidth - kStateRoom);
    if (branch.vm)
      body_ += fmt::format("<circle cx=\"{}\" cy=\"{}\" r=\"6\" fill=\"{}\"><title>{}</title></circle>\n",
                           kVmX + kVmWidth - 16, y_ + 18, fill_of_state(branch.vm->state), xml_text(branch.vm->state));
  }

  void draw_anchor(const MapAnchor& anchor) {
    const std::vector<Line> own = anchor_lines(anchor);
    int branches = anchor.branches.empty() ? 0 : -kBetween;
    for (const MapBranch& branch : anchor.branches) branches += branch_height(branch) + kBetween;
    const int height = std::max(box_height(own.size()), branches);
    box(kAnchorX, y_, kAnchorWidth, height, anchor_name(anchor.kind));
    lines(kAnchorX, y_, own, kAnchorWidth);
    const int end = y_ + height + kGroupGap;
    for (const MapBranch& branch : anchor.branches) {
      const int own_height = branch_height(branch);
      draw_branch(branch, own_height);
      y_ += own_height + kBetween;
    }
    y_ = end;
  }

  std::string body_ = {};
  int y_ = 0;
};

}  // namespace

std::string map_svg(const HostMap& map) { return Picture().draw(map); }

}  // namespace slicer::runner
