#include "lib/net/netns_find.h"

#include <dirent.h>
#include <linux/net_namespace.h>

#include <memory>

#include "lib/net/message.h"

namespace slicer::net {
namespace {

/// The number by which `ns` knows `other`; NETNSA_NSID_NOT_ASSIGNED (-1) when it has none.
Result<int> netnsid_of(RouteSocket& ns, const Netns& other) {
  Message question(RTM_GETNSID);
  question.header(rtgenmsg{.rtgen_family = AF_UNSPEC}).s32(NETNSA_FD, other.fd());
  int number = NETNSA_NSID_NOT_ASSIGNED;
  TRY(ns.query(question, "ask for the number of namespace '" + other.path() + "'", [&](nlmsghdr& message) {
    if (message.nlmsg_type != RTM_NEWNSID) return;
    const Attributes<NETNSA_MAX> at(message, sizeof(rtgenmsg));
    number = at.number<int>(NETNSA_NSID).value_or(NETNSA_NSID_NOT_ASSIGNED);
  }));
  return number;
}

/// Calls `take` for each until it says that it has enough.
template <class Take>
Result<void> for_each_named(const Take& take) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(kNetnsFolder), closedir);
  if (!folder) return {};
  const Netns own = TRY(Netns::current());
  while (const dirent* entry = readdir(folder.get())) {
    if (entry->d_name[0] == '.') continue;
    Result<Netns> ns = Netns::open(std::string(kNetnsFolder) + "/" + entry->d_name);
    if (!ns || ns->is_same(own)) continue;
    if (TRY(take(std::move(*ns)))) return {};
  }
  return {};
}

}  // namespace

std::vector<Netns> list_named_netns() {
  std::vector<Netns> list;
  (void)for_each_named([&](Netns ns) -> Result<bool> {  // without a folder, or a namespace of its own: none
    list.push_back(std::move(ns));
    return false;
  });
  return list;
}

Result<std::optional<Netns>> find_named_netns(RouteSocket& ns, int netnsid) {
  std::optional<Netns> found;
  TRY(for_each_named([&](Netns candidate) -> Result<bool> {
    if (TRY(netnsid_of(ns, candidate)) != netnsid) return false;
    found.emplace(std::move(candidate));
    return true;
  }));
  return found;
}

}  // namespace slicer::net
