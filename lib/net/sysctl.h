#pragma once
// /proc/sys of a network namespace. Keys have slashes ("net/ipv4/conf/br0.5/proxy_arp"): link names may hold dots.

#include <optional>
#include <span>
#include <string>
#include <utility>

#include "lib/addr/ip.h"
#include "lib/net/netns.h"

namespace slicer::net {

/// `ns` nullptr: the calling thread's namespace. Errors: kNotFound (no such key), kSystem.
Result<std::string> read_sysctl(const Netns* ns, const std::string& key);
Result<void> write_sysctl(const Netns* ns, const std::string& key, const std::string& value);
/// Writes only when the value differs. @return the value before, when it was changed (for an undo).
Result<std::optional<std::string>> ensure_sysctl(const Netns* ns, const std::string& key, const std::string& value);

/// Where kept values stand: `sysctl --system`, which a package's installation may run, reads them last.
inline constexpr const char* kSysctlFolder = "/run/sysctl.d";
/// The file there of all networks of ours; read after the 10- to 60- files of /etc/sysctl.d.
inline constexpr const char* kSysctlFile = "90-slicer.conf";
/// Adds or replaces lines of /run/sysctl.d/<file>, under a lock, whole; unchanged: nothing is written.
Result<void> keep_sysctls(const std::string& file, std::span<const std::pair<std::string, std::string>> values);

/// Whether forwarding of a family is on for all links of the calling thread's namespace.
Result<bool> is_forwarding(addr::Family family);
/// Switches it on. Before IPv6's, every link with accept_ra=1 gets 2: a forwarding host ignores router
/// advertisements otherwise, and loses its default route. (So set accept_ra=0 on links of ours, a bridge above all,
/// before: they must never obey a guest's advertisements.) `keep_file`: what was set is kept in
/// that file of /run/sysctl.d; nullptr: not kept (a private namespace). When it is on already nothing is written
/// but a missing keep_file.
Result<void> ensure_forwarding(const Netns* ns, addr::Family family, const char* keep_file);

}  // namespace slicer::net
