#include "plugins/bridge/call.h"

#include "lib/base/hash.h"

namespace slicer::bridge {
namespace {

Result<Sandbox> open_sandbox(const std::string& path) {
  net::Netns ns = TRY(net::Netns::open(path));
  net::RouteSocket routes = TRY(net::RouteSocket::open_in(ns));
  return Sandbox{.ns = std::move(ns), .routes = std::move(routes)};
}

}  // namespace

Result<Call> open_call(const cni::Request& request) {
  const cni::Environment& env = request.env;
  Config config = TRY(parse_config(request.conf, env));
  Call call{.request = request,
            .config = std::move(config),
            .attachment = {.network = request.conf.name, .container_id = env.container_id, .ifname = env.ifname},
            .host = TRY(net::RouteSocket::open())};
  if (request.netns_present && !request.host_netns) call.sandbox = TRY(open_sandbox(env.netns));
  return call;
}

addr::Mac device_mac(const cni::Attachment& attachment, const char* role) {
  return addr::local_mac(
      hash_names({cni::machine_id(), attachment.network, attachment.container_id, attachment.ifname, role}));
}

}  // namespace slicer::bridge
