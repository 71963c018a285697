// A network plugin for the runner's tests: a TAP and a fixed address, no bridge, no IPAM, no state. Keys:
//   "address": CIDR of the VM     "gateway": CIDR that the host's end gets
//               (with the capability "ips", the one that is asked for; "taken": the one that cannot be had)
//   "log": a file that gets one line a call: "ADD <container> <ifname> <netns>"
//   "addWhile": a file; ADD makes the TAP, writes its pid into FILE.pid, and goes on when the file is gone; after 30 s
//               it fails
//   "containerResult": true: the result has no entry for a VM
//   "redirectResult": true: the result is as tc-redirect-tap's: the container's interface with the same address before
//   "failAdd": true: ADD makes the TAP and then fails     "failDelWhile": a file; DEL fails as long as it is there
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/unique_fd.h"
#include "lib/base/whole_file.h"
#include "lib/cni/attachment.h"
#include "lib/cni/fields.h"
#include "lib/cni/plugin_main.h"
#include "lib/net/address.h"
#include "lib/net/link.h"
#include "lib/net/netns.h"
#include "lib/net/tap.h"

namespace slicer {
namespace {

using cni::CniResult;
using cni::Request;

Result<void> log_call(const Request& request) {
  const std::string path = TRY(cni::string_field(request.conf.raw, "log"));
  if (path.empty()) return {};
  const UniqueFd log(open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  const std::string line = std::string(cni::command_name(request.env.command)) + " " + request.env.container_id + " " +
                           request.env.ifname + " " + request.env.netns + "\n";
  (void)!write(log.get(), line.data(), line.size());
  return {};
}

Result<void> wait_while(const std::string& path) {
  if (path.empty()) return {};
  TRY(write_whole_file(path + ".pid", std::to_string(getpid())));
  for (int i = 0; i < 3000; ++i) {
    if (access(path.c_str(), F_OK) != 0) return {};
    (void)usleep(10000);
  }
  return fail(Kind::kBusy, "wait for the end of file '" + path + "': still there after 30 s");
}

uint32_t owner_of(const Request& request) {
  const auto uid = request.env.arg("TC_REDIRECT_TAP_UID");
  return uid ? static_cast<uint32_t>(std::stoul(*uid)) : 0;
}

Result<std::string> address_for(const Request& request) {
  const cni::Json runtime = TRY(cni::object_field(request.conf.raw, "runtimeConfig"));
  const std::vector<std::string> asked = TRY(cni::strings_field(runtime, "ips"));
  if (asked.empty()) return cni::string_field(request.conf.raw, "address");
  if (asked.front() == TRY(cni::string_field(request.conf.raw, "taken")))
    return fail(Kind::kExhausted, "add: " + asked.front() + " is taken");
  return asked.front();
}

std::string mac_for(const Request& request) { return request.env.arg("MAC").value_or("02:00:5e:00:53:01"); }

Result<CniResult> add(const Request& request) {
  TRY(log_call(request));
  const net::Netns sandbox = TRY(net::Netns::open(request.env.netns));
  net::RouteSocket session = TRY(net::RouteSocket::open_in(sandbox));
  const int tap = TRY(net::create_tap(&sandbox, session, {.name = request.env.ifname, .owner = owner_of(request)}));
  TRY(wait_while(TRY(cni::string_field(request.conf.raw, "addWhile"))));
  if (TRY(cni::bool_field(request.conf.raw, "failAdd", false))) return fail(Kind::kExhausted, "add: told to fail");
  const std::string gateway = TRY(cni::string_field(request.conf.raw, "gateway"));
  const std::string address = TRY(address_for(request));
  CniResult result;
  result.interfaces = {{.name = request.env.ifname, .sandbox = request.env.netns},
                       {.name = request.env.ifname, .mac = mac_for(request), .sandbox = request.env.container_id}};
  if (TRY(cni::bool_field(request.conf.raw, "containerResult", false))) result.interfaces.pop_back();
  if (!gateway.empty()) {
    const addr::Cidr cidr = TRY(addr::parse_cidr(gateway));
    (void)TRY(net::ensure_address(session, tap, {.address = cidr}));
  }
  if (!address.empty()) {
    const addr::Cidr cidr = TRY(addr::parse_cidr(address));
    result.ips.push_back({.address = cidr, .interface = static_cast<int>(result.interfaces.size()) - 1});
    if (!gateway.empty()) result.ips.front().gateway = TRY(addr::parse_cidr(gateway)).ip;
  }
  if (TRY(cni::bool_field(request.conf.raw, "redirectResult", false))) {
    result.interfaces.push_back({.name = "eth0", .mac = mac_for(request), .sandbox = request.env.netns});
    result.ips.insert(result.ips.begin(), result.ips.front());
    result.ips.front().interface = static_cast<int>(result.interfaces.size()) - 1;
  }
  return result;
}

Result<void> del(const Request& request) {
  TRY(log_call(request));
  const std::string obstacle = TRY(cni::string_field(request.conf.raw, "failDelWhile"));
  if (!obstacle.empty() && access(obstacle.c_str(), F_OK) == 0) return fail(Kind::kBusy, "delete: told to fail");
  if (!request.netns_present) return {};
  const net::Netns sandbox = TRY(net::Netns::open(request.env.netns));
  net::RouteSocket session = TRY(net::RouteSocket::open_in(sandbox));
  return net::delete_link(session, request.env.ifname);
}

Result<void> nothing(const Request& request) { return log_call(request); }

}  // namespace
}  // namespace slicer

int main() {
  return slicer::cni::plugin_main(slicer::cni::Process::real(), {.name = "tap-plugin",
                                                                 .about = "a TAP for the runner's tests",
                                                                 .add = slicer::add,
                                                                 .del = slicer::del,
                                                                 .check = slicer::nothing,
                                                                 .gc = slicer::nothing,
                                                                 .status = slicer::nothing});
}
