#pragma once
// slicer-run in a test's own host: a user for hypervisors, networks, a guest that starts at once.

#include <string>
#include <vector>

#include "tests/system/fixture/host.h"
#include "tests/system/fixture/plugin.h"
#include "tests/system/fixture/process.h"

namespace slicer::test {

/// Two networks, both by tap_plugin (192.0.2.2, gateway 192.0.2.1): "host" in the host's namespace, "private" in one of
/// the VM's own. What still runs at the end is killed.
class Runner {
 public:
  Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;
  ~Runner();

  static constexpr uid_t kUid = 64321;
  /// A guest of 120 bytes: says TINY-READY on its console, then echoes what it gets; 'q' or the power button switch it
  /// off.
  static constexpr const char* kTinyKernel = "/run/tiny-kernel";
  /// The same, deaf to the power button.
  static constexpr const char* kDeafKernel = "/run/deaf-kernel";

  /// The program and its arguments, split at blanks, with the environment that the tests' commands have.
  [[nodiscard]] static std::vector<std::string> argv(const std::string& line);
  /// From now on this test's VMs are kept by stand_in_qemu: they run at once and need no processor time.
  static void use_stand_in();
  /// Runs slicer-run.
  [[nodiscard]] static Outcome run(const std::string& line, const std::string& in = {});
  /// `vm new NAME` with the tiny guest.
  [[nodiscard]] static Outcome start(const std::string& name, const std::string& network = "host",
                                     const std::string& more = {});
  /// Its object in `list --json`; null when there is none.
  [[nodiscard]] static Json vm(const std::string& name);
  /// Waits until the VM has no state any more.
  [[nodiscard]] static bool gone(const std::string& name);
  /// Waits until its console has shown `text`.
  [[nodiscard]] static bool says(const std::string& name, const std::string& text);

  /// An sshd is on PATH, and the account that it needs is there; else the reason why not. It is the system's, or
  /// SLICER_TEST_SSHD: a folder that the packages openssh-server and libwrap0 were unpacked into.
  [[nodiscard]] static std::string prepare_sshd();

  /// Real guests can be booted: SLICER_TEST_IMAGE is the folder that scripts/guest-image made.
  [[nodiscard]] static bool has_demo_image();
  /// That folder is the image of VMs that name none.
  static void install_demo_image();
  /// Runs a line in the shell of the demo guest's console; whether it succeeded.
  [[nodiscard]] static bool guest_does(const std::string& vm, const std::string& line);

  /// Writes a network like "host" (or "private") with further keys of the plugin.
  static void network(const std::string& name, bool host, const Json& keys = Json::object());
  /// Where tap_plugin is.
  [[nodiscard]] static std::string plugin_dir();
  /// The plugin's calls so far: "ADD demo-1 vmtap0 /proc/self/ns/net".
  [[nodiscard]] static std::vector<std::string> calls();
};

bool exists(const std::string& path);
std::string contents(const std::string& path);
void write_text(const std::string& path, const std::string& text);
bool runs(pid_t pid);  ///< a zombie does not

/// What use_stand_in() is about, from the case's beginning.
struct StandInMachine {
  StandInMachine() { Runner::use_stand_in(); }
  Host host;
  Runner runner;
};

}  // namespace slicer::test

/// Leaves a case that boots a real guest as skipped where there is no image of one.
#define SLICER_NEEDS_DEMO_IMAGE() \
  if (!Runner::has_demo_image()) SLICER_SKIP("SLICER_TEST_IMAGE is not set: scripts/guest-image makes the demo guest")
