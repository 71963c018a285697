#pragma once
// What both backends say of isolated networks on the host, as values. Private to lib/netfilter; isolation.h is the
// face.

#include <functional>
#include <string>
#include <vector>

#include "lib/addr/ip.h"

namespace slicer::netfilter {

/// A bridge that no isolated VM may reach, and the comment that says whose it is.
struct MarkedBridge {
  std::string name = {};
  std::string mark = {};
  friend bool operator==(const MarkedBridge&, const MarkedBridge&) = default;
};

/// A VM and an address of its allow list that is the host's or a link of ours.
struct Opening {
  addr::Ip source = {};
  addr::Ip destination = {};
  std::string comment = {};  ///< its owner
  friend bool operator==(const Opening&, const Opening&) = default;
};

/// What is to become of the openings.
using OpeningPlan = std::function<std::vector<Opening>(std::vector<Opening> standing)>;

}  // namespace slicer::netfilter
