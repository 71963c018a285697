#include "runner/guest/seed.h"

#include <doctest/doctest.h>

#include "lib/base/whole_file.h"
#include "runner/guest/iso_image.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

SeedSpec spec() {
  SeedSpec spec;
  spec.vm_name = "demo-1";
  spec.guest_mac = "02:00:5e:00:53:01";
  spec.mtu_bytes = 1450;
  spec.ssh_keys = {"ssh-ed25519 AAAA slicer-run@host", R"(ssh-ed25519 BBBB "my" \key)"};
  return spec;
}

cni::IpConfig ip(const char* address, const char* gateway) {
  cni::IpConfig config{.address = addr::parse_cidr(address).value(), .interface = 1};
  if (gateway != nullptr) config.gateway = addr::parse_ip(gateway).value();
  return config;
}

cni::CniResult result_with(std::vector<cni::IpConfig> ips) {
  cni::CniResult result;
  result.interfaces = {{.name = "tap0", .sandbox = "/run/netns/x"}, {.name = "tap0", .sandbox = "demo-1"}};
  result.ips = std::move(ips);
  return result;
}

std::string network(const cni::CniResult& result) { return seed_files(spec(), result, 1).network_config; }

constexpr const char* kHead =
    "version: 2\n"
    "ethernets:\n"
    "  eth0:\n"
    "    match:\n"
    "      macaddress: \"02:00:5e:00:53:01\"\n"
    "    set-name: eth0\n";

}  // namespace

TEST_CASE("seed: name and keys in meta-data, every scalar quoted") {
  const SeedFiles files = seed_files(spec(), result_with({}), 1);
  CHECK(files.meta_data.starts_with("instance-id: \"demo-1-"));
  CHECK(
      files.meta_data.ends_with("local-hostname: \"demo-1\"\n"
                                "public-keys:\n"
                                "  - \"ssh-ed25519 AAAA slicer-run@host\"\n"
                                "  - \"ssh-ed25519 BBBB \\\"my\\\" \\\\key\"\n"));
  CHECK(files.user_data ==
        "#cloud-config\n"
        "ssh_authorized_keys:\n"
        "  - \"ssh-ed25519 AAAA slicer-run@host\"\n"
        "  - \"ssh-ed25519 BBBB \\\"my\\\" \\\\key\"\n");
  CHECK(files.vendor_data.starts_with("#cloud-config\ndisable_root: false\n"));
}

TEST_CASE("seed: the instance is the same at a restart, another for another VM or MAC") {
  const auto instance = [](const char* name, const char* mac) {
    SeedSpec each = spec();
    each.vm_name = name;
    each.guest_mac = mac;
    const std::string text = seed_files(each, result_with({}), 1).meta_data;
    return text.substr(0, text.find('\n'));
  };
  CHECK(instance("demo-1", "02:00:5e:00:53:01") == instance("demo-1", "02:00:5e:00:53:01"));
  CHECK(instance("demo-1", "02:00:5e:00:53:01") != instance("demo-1", "02:00:5e:00:53:02"));
  CHECK(instance("demo-1", "02:00:5e:00:53:01") != instance("demo-2", "02:00:5e:00:53:01"));
}

TEST_CASE("seed: userdata is passed on to the letter, whatever it is") {
  SeedSpec each = spec();
  for (const char* text : {"#!/bin/sh\necho hello\n", "#cloud-config\npackages: [git]", "anything\r\n\x01"}) {
    each.userdata = text;
    const SeedFiles files = seed_files(each, result_with({}), 1);
    CHECK(files.user_data == text);
    CHECK(files.meta_data.find("AAAA slicer-run@host") != std::string::npos);
  }
}

TEST_CASE("seed: addresses of both families, the result's routes, name servers") {
  cni::CniResult result = result_with({ip("192.0.2.7/24", "192.0.2.1"), ip("2001:db8::7/64", "2001:db8::1")});
  result.routes = {
      {.dst = addr::parse_cidr("0.0.0.0/0").value()},
      {.dst = addr::parse_cidr("198.51.100.0/24").value(), .gw = addr::parse_ip("203.0.113.1").value(), .priority = 7}};
  result.dns = {.nameservers = {"192.0.2.53"}, .search = {"example.org"}};
  CHECK(network(result) == std::string(kHead) +
                               "    dhcp4: false\n"
                               "    mtu: 1450\n"
                               "    addresses:\n"
                               "      - \"192.0.2.7/24\"\n"
                               "      - \"2001:db8::7/64\"\n"
                               "    routes:\n"
                               "      - to: \"0.0.0.0/0\"\n"
                               "        via: \"192.0.2.1\"\n"
                               "      - to: \"198.51.100.0/24\"\n"
                               "        via: \"203.0.113.1\"\n"
                               "        on-link: true\n"
                               "        metric: 7\n"
                               "      - to: \"::/0\"\n"
                               "        via: \"2001:db8::1\"\n"
                               "    nameservers:\n"
                               "      addresses:\n"
                               "        - \"192.0.2.53\"\n"
                               "      search:\n"
                               "        - \"example.org\"\n");
}

TEST_CASE("seed: without an address the guest asks a DHCP server; without a gateway it has no route") {
  CHECK(network(result_with({})) == std::string(kHead) + "    dhcp4: true\n    mtu: 1450\n");
  CHECK(network(result_with({ip("192.0.2.7/24", nullptr)})) ==
        std::string(kHead) + "    dhcp4: false\n    mtu: 1450\n    addresses:\n      - \"192.0.2.7/24\"\n");
}

TEST_CASE("seed: a small ISO 9660 disk labelled cidata") {
  const test::TempFolder folder;
  REQUIRE(write_seed(seed_files(spec(), result_with({}), 1), folder.file("seed.iso")));
  const std::string image = read_file(folder.file("seed.iso")).value();
  CHECK(image.size() < size_t{512} << 10);
  // ECMA-119, 8.4: the primary volume descriptor is sector 16; type, "CD001", version; the label from byte 40 on.
  REQUIRE(image.size() > 0x8000 + 72);
  CHECK(image.substr(0x8000, 7) == std::string("\x01"
                                               "CD001\x01",
                                               7));
  CHECK(image.substr(0x8000 + 40, 32) == "cidata" + std::string(26, ' '));
  CHECK(image.find("local-hostname: \"demo-1\"") != std::string::npos);
  // An empty file is one, too.
  CHECK(iso_image("cidata", {{.name = "user-data", .content = ""}}));
}

}  // namespace slicer::runner
