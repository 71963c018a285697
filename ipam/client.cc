#include "ipam/client.h"

#include "ipam/verbs.h"
#include "lib/base/log.h"
#include "lib/cni/delegate.h"

namespace slicer::ipam {
namespace {

using Verb = Result<void> (*)(const cni::Request&);

bool is_ours(const cni::Request& request) { return request.conf.ipam_type == "slicer-ipam"; }

Result<void> call(const cni::Request& request, cni::Command command, Verb ours) {
  if (request.conf.ipam_type.empty()) return {};
  if (is_ours(request)) return ours(request);
  (void)TRY(cni::call_delegate(request, {.type = request.conf.ipam_type, .command = command}));
  return {};
}

}  // namespace

Result<cni::CniResult> add(const cni::Request& request) {
  if (request.conf.ipam_type.empty()) return cni::CniResult{};
  if (is_ours(request)) return verbs::add(request);
  (void)TRY(cni::find_plugin(request.conf.ipam_type, request.env.path));  // what never ran has nothing to undo
  Result<cni::CniResult> result = cni::delegate_add(request, request.conf.ipam_type);
  if (result && result->ips.empty())  // as upstream's plugins do
    result = fail(Kind::kInvalidConfig, "use IPAM '" + request.conf.ipam_type + "': it gave no address",
                  "leave \"ipam\" out for an interface without addresses");
  if (!result) {
    if (const Result<void> undone = del(request); !undone)
      log_line("undo: release addresses: " + undone.error().message + ", ignoring");
  }
  return result;
}

Result<cni::CniResult> add_checked(const cni::Request& request, const Search& search) {
  if (!is_ours(request)) return fail(Kind::kInternal, "choose addresses of IPAM '" + request.conf.ipam_type + "'");
  return verbs::add_checked(request, search);
}

Result<void> give_up(const cni::Request& request, const addr::Ip& ip) {
  if (!is_ours(request)) return fail(Kind::kInternal, "choose addresses of IPAM '" + request.conf.ipam_type + "'");
  return verbs::give_up(request, ip);
}

Result<void> del(const cni::Request& request) { return call(request, cni::Command::kDel, verbs::del); }

Result<void> check(const cni::Request& request) { return call(request, cni::Command::kCheck, verbs::check); }

Result<void> gc(const cni::Request& request) { return call(request, cni::Command::kGc, verbs::gc); }

Result<std::vector<addr::Ip>> find_leaving(const cni::Request& request) {
  if (!is_ours(request) && request.conf.ipam_type != "host-local") return std::vector<addr::Ip>{};
  return verbs::find_leaving(request);
}

Result<void> status(const cni::Request& request) { return call(request, cni::Command::kStatus, verbs::status); }

}  // namespace slicer::ipam
