#include "lib/net/sandbox.h"

#include <utility>

namespace slicer::net {

Result<Sandbox> open_sandbox(const std::string& path) {
  Netns ns = TRY(Netns::open(path));
  RouteSocket routes = TRY(RouteSocket::open_in(ns));
  return Sandbox{.ns = std::move(ns), .routes = std::move(routes)};
}

}  // namespace slicer::net
