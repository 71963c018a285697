#pragma once
// All hypervisors of a host run as one user. What keeps one that its guest has taken over from the others.

namespace slicer::runner {

/// Between fork and exec, with no_new_privs set: this process and what it starts can neither trace a process outside,
/// nor reach its descriptors and memory through /proc, and from Linux 6.12 on send it no signal and connect to none of
/// its abstract sockets. Nothing else is taken away: what the program may open is left to its own filters. A kernel
/// without Landlock has no such domain, and that is no failure. @return nullptr, or the step that failed (errno).
const char* enter_own_domain();

}  // namespace slicer::runner
