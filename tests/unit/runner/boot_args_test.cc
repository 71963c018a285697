#include "runner/guest/boot_args.h"

#include <doctest/doctest.h>

namespace slicer::runner {
namespace {

cni::IpConfig ip(const char* address, const char* gateway, int interface = 1) {
  cni::IpConfig config{.address = addr::parse_cidr(address).value(), .interface = interface};
  if (gateway != nullptr) config.gateway = addr::parse_ip(gateway).value();
  return config;
}

cni::CniResult result_with(std::vector<cni::IpConfig> ips) {
  cni::CniResult result;
  result.interfaces = {{.name = "tap0", .sandbox = "/run/netns/x"}, {.name = "tap0", .sandbox = "demo-1"}};
  result.ips = std::move(ips);
  return result;
}

const BootArgs kArgs{.image = "quiet", .vm_name = "demo-1", .console = "ttyS0"};

}  // namespace

TEST_CASE("boot_command_line: an IPv4 address becomes the kernel's ip= parameter") {
  CHECK(boot_command_line(kArgs, result_with({ip("192.0.2.7/24", "192.0.2.1")}), 1) ==
        "quiet console=ttyS0 hostname=demo-1 ip=192.0.2.7::192.0.2.1:255.255.255.0:demo-1::off");
}

TEST_CASE("boot_command_line: without a gateway its field is empty") {
  CHECK(boot_command_line(kArgs, result_with({ip("192.0.2.7/30", nullptr)}), 1) ==
        "quiet console=ttyS0 hostname=demo-1 ip=192.0.2.7:::255.255.255.252:demo-1::off");
}

TEST_CASE("boot_command_line: at most two name servers, IPv4 only") {
  cni::CniResult result = result_with({ip("192.0.2.7/24", "192.0.2.1")});
  result.dns.nameservers = {"2001:db8::53", "198.51.100.1", "198.51.100.2", "198.51.100.3"};
  CHECK(boot_command_line(kArgs, result, 1).ends_with("::off:198.51.100.1:198.51.100.2"));
}

TEST_CASE("boot_command_line: a VM without an address asks a DHCP server") {
  CHECK(boot_command_line(kArgs, result_with({}), 1) == "quiet console=ttyS0 hostname=demo-1 ip=dhcp");
}

TEST_CASE("boot_command_line: IPv6 has a parameter of its own") {
  CHECK(boot_command_line(kArgs, result_with({ip("2001:db8::7/64", "2001:db8::1")}), 1) ==
        "quiet console=ttyS0 hostname=demo-1 slicer.ip6=2001:db8::7/64,2001:db8::1");
  CHECK(boot_command_line(kArgs, result_with({ip("192.0.2.7/24", nullptr), ip("2001:db8::7/64", nullptr)}), 1)
            .ends_with("ip=192.0.2.7:::255.255.255.0:demo-1::off slicer.ip6=2001:db8::7/64"));
}

TEST_CASE("boot_command_line: addresses of other interfaces are not the guest's") {
  const auto result = result_with({ip("198.51.100.9/24", nullptr, 0), ip("192.0.2.7/24", nullptr, 1)});
  CHECK(boot_command_line(kArgs, result, 1).find("ip=192.0.2.7:") != std::string::npos);
}

TEST_CASE("boot_command_line: what the image or the user says stands") {
  const auto result = result_with({ip("192.0.2.7/24", nullptr)});
  CHECK(boot_command_line({.image = "ip=dhcp console=hvc0 hostname=x", .vm_name = "demo-1", .console = "ttyS0"}, result,
                          1) == "ip=dhcp console=hvc0 hostname=x");
  // A word that only contains the key is another parameter.
  CHECK(boot_command_line({.image = "netconsole=x skip=1", .vm_name = "d", .console = "ttyS0"}, result_with({}), 1) ==
        "netconsole=x skip=1 console=ttyS0 hostname=d ip=dhcp");
  CHECK(boot_command_line({.image = "", .vm_name = "d", .console = "ttyS0"}, result_with({}), 1) ==
        "console=ttyS0 hostname=d ip=dhcp");
}

}  // namespace slicer::runner
