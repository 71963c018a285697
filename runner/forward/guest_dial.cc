#include "runner/forward/guest_dial.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

#include "runner/forward/guest_way.h"
#include "runner/process/child.h"
#include "runner/ssh/ssh_command.h"

namespace slicer::runner {
namespace {}  // namespace

Result<VmRecord> load_running(const Settings& settings, const std::string& name, const std::string& what) {
  VmRecord record = TRY(load_record(settings, name));
  if (record.phase != Phase::kRunning || !is_alive(record))
    return fail(Kind::kUnavailable, what + " VM '" + name + "': it does not run", "slicer-run list");
  return record;
}

Result<Dialled> GuestDialler::dial_by_ssh(const ForwardSpec& spec) {
  std::erase_if(by_ssh_, [](const std::weak_ptr<Child>& each) { return each.expired(); });
  if (by_ssh_.size() >= kMaxBySsh)
    return fail(Kind::kBusy, fmt::format("reach VM '{}' by SSH: {} connections go that way already", vm_, kMaxBySsh));
  std::array<int, 2> ends = {-1, -1};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
    return fail_errno(errno, "make a socket pair");
  Dialled dialled;
  dialled.socket = UniqueFd(ends[0]);
  const UniqueFd theirs(ends[1]);
  if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) return fail_errno(errno, "make a socket non-blocking");
  SshWish ssh;
  ssh.user = wish_.user;
  ssh.more = {"-W", ssh_target(spec)};
  ChildSpec child;
  child.argv = TRY(ssh_argv(settings_, vm_, ssh));
  child.in = theirs.get();
  child.out = theirs.get();
  dialled.carrier = std::make_shared<Child>(TRY(Child::start(child)));
  dialled.silent_end_is_refusal = true;
  by_ssh_.push_back(dialled.carrier);
  return dialled;
}

Result<Dialled> GuestDialler::dial(const ForwardSpec& spec) {
  const VmRecord record = TRY(load_running(settings_, vm_, "reach"));
  if (!spec.target.empty()) return dial_by_ssh(spec);
  const GuestWay way = TRY(find_way(record));
  if (spec.transport == Transport::kUdp) {
    Dialled dialled;
    dialled.socket = TRY(open_datagrams(way, spec.target_port));
    return dialled;
  }
  Dialled dialled = TRY(begin_connection(way, spec.target_port));
  if (!wish_.direct) dialled.instead = [this, spec] { return dial_by_ssh(spec); };
  return dialled;
}

}  // namespace slicer::runner
