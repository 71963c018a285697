// runner/doctor/managed_links: which of a host's files would take a link over.

#include "runner/doctor/managed_links.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include "lib/base/whole_file.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer::runner::doctor;
using slicer::test::TempFolder;

namespace {

const LinkIdentity kTap{.name = "vmtap0", .kind = "tun"};
const LinkIdentity kBridge{.name = "slicer0", .kind = "bridge"};

bool takes(const std::string& text, const LinkIdentity& link) { return matches(parse_network_file(text, "f"), link); }

}  // namespace

TEST_CASE("matches: [Match] as systemd.network(5) has it") {
  CHECK(takes("[Match]\nName=*\n", kTap));
  CHECK(takes("[Match]\nName=eth* vmtap?\n", kTap));
  CHECK(takes("# c\n[Match]\n  Name = eth0\nName=vm*\n", kTap));
  CHECK_FALSE(takes("[Match]\nName=eth*\n", kTap));
  CHECK_FALSE(takes("[Match]\nName=!vmtap* sl*\n", kTap));
  CHECK_FALSE(takes("[Match]\nName=!vmtap* sl*\n", kBridge));
  CHECK(takes("[Match]\nName=!eth*\n", kBridge));
  CHECK(takes("[Match]\nKind=tun\n", kTap));
  CHECK_FALSE(takes("[Match]\nKind=tun\n", kBridge));
  CHECK(takes("[Match]\nType=ether\n", kTap));
  CHECK_FALSE(takes("[Match]\nType=ether\n", kBridge));
  CHECK(takes("[Match]\nType=bridge\nName=slicer*\n", kBridge));
  CHECK(takes("[Match]\nDriver=bridge\n", kBridge));
  CHECK_FALSE(takes("[Match]\nName=*\nDriver=e1000\n", kTap));
  CHECK_FALSE(takes("[Match]\nMACAddress=02:00:5e:00:53:01\n", kTap));
  CHECK_FALSE(takes("[Match]\n[Network]\nDHCP=yes\n", kTap));
  CHECK_FALSE(takes("", kTap));
  CHECK_FALSE(takes("[Match]\nName=vmtap0\nName=\nName=eth0\n", kTap));
}

TEST_CASE("taken_by: the first file that matches decides") {
  const NetworkFile greedy = parse_network_file("[Match]\nName=*\n[Network]\nDHCP=yes\n", "50-greedy.network");
  const NetworkFile kind = parse_network_file("[Match]\nName=vmtap*\n[Link]\nUnmanaged=yes\n", "00-slicer.network");
  const NetworkFile keep =
      parse_network_file("[Match]\nName=vmtap*\n[Network]\nKeepConfiguration=yes\n", "00-keep.network");
  CHECK(taken_by({greedy}, kTap)->path == "50-greedy.network");
  CHECK_FALSE(taken_by({kind, greedy}, kTap));
  CHECK_FALSE(taken_by({keep, greedy}, kTap));
  CHECK(taken_by({kind, greedy}, kBridge));
  CHECK(taken_by({greedy, kind}, kTap));
  CHECK_FALSE(taken_by({}, kTap));
}

TEST_CASE("read_network_files: /etc hides /run hides /usr, over one order of names") {
  const TempFolder root;
  for (const char* folder : {"usr/lib/systemd/network", "run/systemd/network", "etc/systemd/network"})
    root.folder(folder);
  root.write("usr/lib/systemd/network/80-a.network", "[Match]\nName=a\n");
  root.write("usr/lib/systemd/network/70-masked.network", "[Match]\nName=*\n");
  REQUIRE(symlink("/dev/null", root.file("etc/systemd/network/70-masked.network").c_str()) == 0);
  root.write("run/systemd/network/80-a.network", "[Match]\nName=run\n");
  root.write("etc/systemd/network/90-b.network", "[Match]\nName=b\n");
  root.write("etc/systemd/network/90-b.link", "[Match]\nName=*\n");
  const auto files = read_network_files(root.path());
  REQUIRE(files.size() == 3);
  CHECK_FALSE(matches(files[0], kTap));
  CHECK(files[1].path == root.file("run/systemd/network/80-a.network"));
  CHECK(files[2].path == root.file("etc/systemd/network/90-b.network"));
}

TEST_CASE("is_unmanaged: NetworkManager's device lists") {
  CHECK(is_unmanaged({"interface-name:vmtap*"}, kTap));
  CHECK(is_unmanaged({"interface-name:=vmtap0"}, kTap));
  CHECK_FALSE(is_unmanaged({"interface-name:=vmtap*"}, kTap));
  CHECK(is_unmanaged({"mac:02:00:5e:00:53:01", "type:bridge"}, kBridge));
  CHECK(is_unmanaged({"driver:br*"}, kBridge));
  CHECK(is_unmanaged({"*"}, kTap));
  CHECK_FALSE(is_unmanaged({"*", "except:interface-name:slicer0"}, kBridge));
  CHECK_FALSE(is_unmanaged({}, kTap));
}

TEST_CASE("unmanaged_devices: later files replace or add") {
  const TempFolder root;
  for (const char* folder : {"usr/lib/NetworkManager/conf.d", "etc/NetworkManager/conf.d"}) root.folder(folder);
  root.write("usr/lib/NetworkManager/conf.d/10.conf", "[keyfile]\nunmanaged-devices=type:veth\n");
  root.write("etc/NetworkManager/NetworkManager.conf",
             "[keyfile]\nunmanaged-devices = interface-name:a;interface-name:b\n");
  root.write("etc/NetworkManager/conf.d/20.conf", "[keyfile]\nunmanaged-devices+=interface-name:c\n");
  CHECK(unmanaged_devices(root.path()) ==
        std::vector<std::string>{"interface-name:a", "interface-name:b", "interface-name:c"});
}

TEST_CASE("the shipped files leave the default links of every mode alone") {
  const std::string host = SLICER_HOST_FILES;
  const NetworkFile file = parse_network_file(slicer::read_file(host + "/00-slicer.network").value(), "f");
  const TempFolder root;
  root.folder("etc/NetworkManager/conf.d");
  root.write("etc/NetworkManager/conf.d/90-slicer.conf", slicer::read_file(host + "/90-slicer.conf").value());
  const LinkIdentity veth{.name = "slv7hessubxw7q2", .kind = "veth"};
  for (const LinkIdentity& link : {kTap, kBridge, veth}) {
    CAPTURE(link.name);
    CHECK(matches(file, link));
    CHECK(is_unmanaged(unmanaged_devices(root.path()), link));
  }
  CHECK(file.leaves_alone);
  CHECK_FALSE(matches(file, {.name = "eth0", .kind = "veth"}));
}
