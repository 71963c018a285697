#pragma once
// The private namespace of an attachment.

#include <string>

#include "lib/net/netlink.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// A namespace with a session in it, opened once.
struct Sandbox {
  Netns ns;
  RouteSocket routes;
};
/// Errors: as Netns::open() and RouteSocket::open_in().
Result<Sandbox> open_sandbox(const std::string& path);

}  // namespace slicer::net
