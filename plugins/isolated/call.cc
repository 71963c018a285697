#include "plugins/isolated/call.h"

#include <fmt/core.h>

#include "lib/base/hash.h"
#include "lib/base/log.h"

namespace slicer::isolated {
namespace {

Result<Call> open_with(const cni::Request& request, Config config) {
  const cni::Environment& env = request.env;
  net::RouteSocket host = TRY(net::RouteSocket::open());
  Call call{.request = request,
            .config = std::move(config),
            .attachment = {.network = request.conf.name, .container_id = env.container_id, .ifname = env.ifname},
            .host = std::move(host),
            .machine_id = cni::machine_id()};
  if (request.netns_present && !request.host_netns) call.sandbox = TRY(net::open_sandbox(env.netns));
  return call;
}

}  // namespace

Result<Call> open_call(const cni::Request& request) {
  Config config = TRY(parse_config(request.conf, request.env));
  // CNI_NETNS_OVERRIDE is for plugins that can work there.
  if (request.host_netns)
    return fail(Kind::kHostNetns,
                fmt::format("use CNI_NETNS '{}': it is the host's own network namespace, and an isolated VM needs a "
                            "private one",
                            request.env.netns),
                "make one (ip netns add NAME) and pass its path; for a VM in the host's namespace use slicer-bridge");
  return open_with(request, std::move(config));
}

Result<Call> open_cleanup_call(const cni::Request& request) {
  Result<Config> config = parse_config(request.conf, request.env);
  if (config) return open_with(request, std::move(*config));
  log_line(config.error().message + ", ignoring");
  return open_with(request, cleanup_config(request.conf));
}

addr::Mac device_mac(const Call& call, const char* role) {
  const cni::Attachment& attachment = call.attachment;
  return addr::local_mac(
      hash_names({call.machine_id, attachment.network, attachment.container_id, attachment.ifname, role}));
}

std::unexpected<Error> mismatch(const std::string& what, const std::string& cause) {
  return fail(Kind::kMismatch, fmt::format("check {}: {}", what, cause), "delete the attachment and add it again");
}

}  // namespace slicer::isolated
