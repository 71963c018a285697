#pragma once
// Maps from addresses (and ports) to verdicts. Private to the nftables files.

#include <optional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"
#include "lib/netfilter/nftables/codec.h"
#include "lib/netfilter/nftables/session.h"
#include "lib/netfilter/policy.h"

namespace slicer::netfilter {

/// A map in an inet or netdev table.
struct MapSpec {
  std::string table = {};
  std::string name = {};
  addr::Family family = addr::Family::kIpv4;
  bool intervals = false;  ///< else single addresses: a hash table, quick to change
  bool ports = false;      ///< the key is address . port; only with intervals
  uint16_t table_family = kInet;
};

/// Where a packet goes on: to a chain, or with an empty name it is accepted or dropped here.
struct MapTarget {
  std::string chain = {};
  PolicyVerdict verdict = PolicyVerdict::kDrop;  ///< of an empty `chain`
  friend bool operator==(const MapTarget&, const MapTarget&) = default;
};

struct MapElement {
  addr::IpRange addresses = {};
  std::optional<PortRange> ports = {};
  MapTarget target = {};
  std::string comment = {};
  friend bool operator==(const MapElement&, const MapElement&) = default;
};

// Steps of a transaction. Any number of elements: they are spread over as many messages as it takes.
void put_map(MessageBuffer& out, const MapSpec& map);
void put_map_elements(MessageBuffer& out, const MapSpec& map, const std::vector<MapElement>& elements);
/// Only of maps without intervals.
void delete_map_element(MessageBuffer& out, const MapSpec& map, const addr::Ip& ip);
void delete_map(MessageBuffer& out, const MapSpec& map);

// Questions and answers.
/// One element of a map without intervals.
uint32_t ask_map_element(MessageBuffer& out, const MapSpec& map, const addr::Ip& ip);
/// A dump: the last message of a question.
uint32_t ask_map_elements(MessageBuffer& out, const MapSpec& map);
/// The map that an answer with elements is about.
std::string read_map_name(const nlmsghdr* message);

/// Collects the elements of one map from the answers of a dump; an interval without ports comes in two halves.
class MapReader {
 public:
  explicit MapReader(MapSpec map) : map_(std::move(map)) {}
  void read(const nlmsghdr* message);
  /// By address, then port.
  std::vector<MapElement> take();

  /// One of the kernel's: a key, perhaps the end of an interval.
  struct Half {
    addr::Ip at = {};
    bool ends = false;
    MapElement element = {};
  };

 private:
  MapSpec map_;
  std::vector<Half> halves_ = {};
};

}  // namespace slicer::netfilter
