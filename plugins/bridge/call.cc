#include "plugins/bridge/call.h"

#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/cni/fields.h"

namespace slicer::bridge {
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
  return open_with(request, TRY(parse_config(request.conf, request.env)));
}

Result<Call> open_cleanup_call(const cni::Request& request) {
  Result<Config> config = parse_config(request.conf, request.env);
  if (config) return open_with(request, std::move(*config));
  log_line(config.error().message + ", ignoring");
  Config least;
  if (const Result<std::string> name = cni::string_field(request.conf.raw, "bridge"); name && !name->empty())
    least.bridge = *name;
  return open_with(request, std::move(least));
}

addr::Mac device_mac(const Call& call, const char* role) {
  const cni::Attachment& attachment = call.attachment;
  return addr::local_mac(
      hash_names({call.machine_id, attachment.network, attachment.container_id, attachment.ifname, role}));
}

}  // namespace slicer::bridge
