#include "plugins/bridge/upstream_rules.h"

#include "ipam/client.h"
#include "lib/netfilter/upstream.h"

namespace slicer::bridge {
namespace {

/// Those that IPAM is about to give back, and those of prevResult: a DEL that was interrupted may have given them back.
Result<std::vector<addr::Ip>> leaving_addresses(const cni::Request& request) {
  std::vector<addr::Ip> leaving = TRY(ipam::find_leaving(request));
  if (request.env.command == cni::Command::kGc || !request.conf.prev_result) return leaving;
  for (const cni::IpConfig& ip : request.conf.prev_result->ips) leaving.push_back(ip.address.ip);
  return leaving;
}

}  // namespace

Result<void> delete_upstream_rules(const Call& call) {
  const cni::Request& request = call.request;
  netfilter::UpstreamOwners owners{.network = call.attachment.network};
  owners.addresses = [&request] { return leaving_addresses(request); };
  if (request.env.command == cni::Command::kGc) {
    for (const cni::ValidAttachment& one : *request.conf.valid_attachments)
      owners.valid.push_back({.container_id = one.container_id, .ifname = one.ifname});
  } else {
    owners.only = {.container_id = call.attachment.container_id, .ifname = call.attachment.ifname};
  }
  return netfilter::remove_upstream_rules(owners);
}

}  // namespace slicer::bridge
