#include "plugins/tap/call.h"

#include <fmt/core.h>

#include <chrono>

#include "lib/base/hash.h"
#include "lib/base/log.h"
#include "lib/base/whole_file.h"

namespace slicer::tap {
namespace {

Result<Call> open_with(const cni::Request& request, Config config) {
  const cni::Environment& env = request.env;
  Call call{.request = request,
            .config = std::move(config),
            .attachment = {.network = request.conf.name, .container_id = env.container_id, .ifname = env.ifname}};
  if (request.netns_present) call.sandbox = TRY(net::open_sandbox(env.netns));
  return call;
}

}  // namespace

Result<Call> open_call(const cni::Request& request) {
  return open_with(request, TRY(parse_config(request.conf, request.env)));
}

Result<Call> open_cleanup_call(const cni::Request& request) {
  if (const Result<Config> config = parse_config(request.conf, request.env); !config)
    log_line(config.error().message + ", ignoring");
  return open_with(request, {});  // nothing of it is needed
}

Result<void> lock_sandbox(Call& call) {
  // All openers of a namespace's file share one inode for as long as one of them has it open (fs/nsfs.c), and flock(2)
  // is the inode's: a lock without a file, that dies with its holder.
  return lock_within(call.sandbox->ns.fd(), call.request.env.netns, std::chrono::seconds(10));
}

Result<std::vector<net::Link>> list_own_taps(Call& call) {
  std::vector<net::Link> links = TRY(net::list_links(call.sandbox->routes, ""));
  const std::string alias = call.attachment.alias();
  std::erase_if(links, [&](const net::Link& link) { return !link.tun || link.alias != alias; });
  return links;
}

addr::Mac device_mac(const Call& call) {
  const cni::Attachment& attachment = call.attachment;
  return addr::local_mac(
      hash_names({cni::machine_id(), attachment.network, attachment.container_id, attachment.ifname, "tap"}));
}

std::unexpected<Error> mismatch(const std::string& what, const std::string& cause) {
  return fail(Kind::kMismatch, fmt::format("check {}: {}", what, cause), "delete the attachment and add it again");
}

}  // namespace slicer::tap
