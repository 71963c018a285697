// The rules that keep isolated VMs away from the host: nobody misses them before the next ADD.

#include "lib/netfilter/isolation.h"

#include "lib/net/link.h"
#include "runner/doctor/checks.h"

namespace slicer::runner::doctor {
namespace {

constexpr const char* kCheck = "isolation";

Result<bool> has_isolated_vms() {
  net::RouteSocket host = TRY(net::RouteSocket::open());
  return !TRY(net::list_links(host, netfilter::kIsolatedLinks)).empty();
}

}  // namespace

void check_isolation(Findings& findings) {
  const Result<bool> any = has_isolated_vms();
  if (!any) return findings.fail(kCheck, any.error().message, any.error().hint);
  if (!*any) return findings.ok(kCheck, "no isolated VM");
  const Result<void> standing = netfilter::check_isolation();
  if (standing) return findings.ok(kCheck, "the rules of isolated networks stand");
  findings.fail(kCheck, standing.error().message,
                standing.error().hint +
                    "; then for each isolated network, which lacks its own rules too, slicer-run network reload NAME");
}

}  // namespace slicer::runner::doctor
