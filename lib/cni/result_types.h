#pragma once
// The result of an ADD, independent of the specification's version. Source: CNI SPEC.md, section "ADD Success".

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/cni/json.h"

namespace slicer::cni {

struct Interface {
  std::string name = {};
  std::string mac = {};
  int64_t mtu = 0;  ///< bytes; 0 = not given (1.1.0)
  /// Path of the network namespace; empty: on the host. (Our contract: the guest's entry has the container ID here.)
  std::string sandbox = {};
  std::string socket_path = {};  ///< 1.1.0
  std::string pci_id = {};       ///< 1.1.0
  friend bool operator==(const Interface&, const Interface&) = default;
};

struct IpConfig {
  addr::Cidr address = {};
  std::optional<addr::Ip> gateway = {};
  std::optional<int> interface = {};  ///< index into Result's interfaces
  friend bool operator==(const IpConfig&, const IpConfig&) = default;
};

struct Route {
  addr::Cidr dst = {};
  std::optional<addr::Ip> gw = {};
  // Absent differs from 0 for the last two (1.1.0).
  int64_t mtu = 0;
  int64_t advmss = 0;
  int64_t priority = 0;
  std::optional<int64_t> table = {};
  std::optional<int64_t> scope = {};
  friend bool operator==(const Route&, const Route&) = default;
};

struct Dns {
  std::vector<std::string> nameservers = {};
  std::string domain = {};
  std::vector<std::string> search = {};
  std::vector<std::string> options = {};
  [[nodiscard]] bool empty() const {
    return nameservers.empty() && domain.empty() && search.empty() && options.empty();
  }
  friend bool operator==(const Dns&, const Dns&) = default;
};

/// What an ADD made. `CniResult` keeps clear of slicer::Result.
struct CniResult {
  std::vector<Interface> interfaces = {};
  std::vector<IpConfig> ips = {};
  std::vector<Route> routes = {};
  Dns dns = {};
  friend bool operator==(const CniResult&, const CniResult&) = default;
};

/// The VM end of a result, by the attachment contract (docs/contract.md): the two entries of one name, the first with
/// the TAP's sandbox, the second with the container ID as sandbox and the guest's MAC.
struct GuestInterface {
  int tap = 0;    ///< index of the TAP's entry
  int guest = 0;  ///< index of the guest's entry
};
/// Absent when the result has no such pair (a container's result).
std::optional<GuestInterface> find_guest_interface(const CniResult& result, const std::string& container_id);

Result<Dns> parse_dns(const Json& dns);
/// The key "dns" of a configuration, for a guest: it could do nothing with a name server that is no address, nor would
/// a runtime say so. Error: kInvalidConfig.
Result<Dns> guest_dns_field(const Json& conf);
Json dns_json(const Dns& dns);
Result<Route> parse_route(const Json& route);

}  // namespace slicer::cni
