// slicer@.service and slicer-sos.socket under a real systemd: it is PID 1 of namespaces of its own, with a cgroup of
// its own, and knows no units but these.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <vector>

#include "tests/system/runner/group_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

const std::string kHere = "/run/service/";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  if (text.find(from) == std::string::npos) give_up("no '" + from + "' in:\n" + text);
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

void script(const std::string& path, const std::string& text) {
  write_text(path, text);
  REQUIRE(chmod(path.c_str(), 0755) == 0);
}

/// What a machine's other units would be; the shipped ones with this test's paths.
void write_units() {
  const std::string units = kHere + "units/";
  for (const char* target :
       {"sysinit", "basic", "shutdown", "network", "network-online", "multi-user", "sockets", "test"})
    write_text(units + target + ".target", "[Unit]\nDefaultDependencies=no\n");
  const auto shipped = [](const char* name) { return contents(std::string(SLICER_HOST_FILES "/") + name); };
  const std::string group = replaced(shipped("slicer@.service"), "=slicer-run ", "=" + kHere + "slicer-run ");
  write_text(units + "slicer@.service",
             replaced(replaced(group, "/etc/slicer/", kHere), "RestartSec=5", "RestartSec=100ms"));
  const std::string sos = replaced(shipped("slicer-sos@.service"), "=-slicer-run ", "=-" + kHere + "slicer-run ");
  write_text(units + "slicer-sos@.service", replaced(sos, "--inetd", "--inetd --config " + kHere + "sshd_config"));
  write_text(units + "slicer-sos.socket", shipped("slicer-sos.socket"));
}

// It sees no units of the machine's, and writes nothing of the machine's.
constexpr const char* kInside = R"sh(set -e
mount -t tmpfs none /etc/systemd/system
mount -t tmpfs none /lib/systemd/system
for each in /lib/systemd/system-generators /lib/systemd/system-environment-generators /var/log; do
  if [ -d $each ]; then mount -t tmpfs none $each; fi
done
mount --bind /run/service/machine-id /etc/machine-id
for each in kernel fs vm; do
  mount --bind /proc/sys/$each /proc/sys/$each
  mount -o remount,bind,ro /proc/sys/$each
done
mount -t cgroup2 none /sys/fs/cgroup
cp /run/service/units/* /etc/systemd/system/
bash /run/service/steps >/run/service/steps.log 2>&1 </dev/null &
exec env container=test systemd_bin --system --unit=test.target --show-status=false --log-target=console
)sh";

// Each step's outcome is a line of "told".
constexpr const char* kSteps = R"sh(cd /run/service
say() { echo "$*" >>told; }
until [ -S /run/systemd/private ] && systemctl is-active -q test.target; do sleep 0.1; done
systemctl start slicer@sandbox
say start $? $(systemctl is-active slicer@sandbox)
./slicer-run list --json >running.json
systemctl reload slicer@sandbox
say reload $?
kill -KILL $(systemctl show -p MainPID --value slicer@sandbox)
until [ "$(systemctl show -p NRestarts --value slicer@sandbox)" = 1 ] && systemctl is-active -q slicer@sandbox; do sleep 0.1; done
say back
./slicer-run list --json >again.json
systemctl start slicer-sos.socket
if [ -e sshd_config ]; then
  ssh-keyscan -T 20 -p 2222 -t ed25519 127.0.0.1 2>/dev/null | cut -d' ' -f2 >>told
fi
systemctl stop slicer-sos.socket
systemctl stop slicer@sandbox
say stop $? $(systemctl show -p Result --value slicer@sandbox)
./slicer-run list --json >after.json
say left $(cat /sys/fs/cgroup/system.slice/system-slicer.slice/*/cgroup.procs 2>/dev/null | wc -l)
say failed $(systemctl list-units --failed --plain --no-legend | wc -l)
say done
)sh";

/// A cgroup that goes with the object, and all in it.
class Cgroup {
 public:
  Cgroup() : path_(kHere + "cgroup/slicer-test-" + std::to_string(getpid())) {
    std::filesystem::create_directories(kHere + "cgroup");
    usable_ = run(words("mount -t cgroup2 none " + kHere + "cgroup")).ok() && mkdir(path_.c_str(), 0755) == 0;
  }
  Cgroup(const Cgroup&) = delete;
  Cgroup& operator=(const Cgroup&) = delete;
  ~Cgroup() {
    if (usable_)
      (void)eventually([this] { return run({"sh", "-c", "find " + path_ + " -depth -type d -exec rmdir {} +"}).ok(); },
                       10s);
  }
  [[nodiscard]] bool usable() const { return usable_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool usable_ = false;
};

std::string systemd_program() {
  for (const char* path : {"/usr/lib/systemd/systemd", "/lib/systemd/systemd"})
    if (exists(path)) return path;
  return {};
}

/// The group's file, the programs and the server's configuration. Whether there is an SSH server.
bool prepare() {
  std::filesystem::create_directories(kHere + "units");
  write_units();
  write_text(kHere + "machine-id", "0123456789abcdef0123456789abcdef\n");
  write_text(kHere + "sandbox.yaml", groups_text(group_text("sandbox", 2, kIsolatedGroup)));
  const bool has_sshd = Runner::prepare_sshd().empty();
  if (has_sshd) {
    (void)run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", kHere + "host_key"});
    write_text(kHere + "sshd_config", replaced(contents(SLICER_HOST_FILES "/sshd_config"),
                                               "/etc/ssh/ssh_host_ed25519_key", kHere + "host_key"));
  }
  std::string line;
  for (const std::string& word : Runner::argv("")) line += word + " ";
  const char* libraries = std::getenv("LD_LIBRARY_PATH");
  script(kHere + "slicer-run", "#!/bin/sh\nexport PATH='" + std::string(std::getenv("PATH")) + "'" +
                                   (libraries != nullptr ? std::string(" LD_LIBRARY_PATH='") + libraries + "'" : "") +
                                   "\nexec " + line + "\"$@\"\n");
  script(kHere + "steps", kSteps);
  script(kHere + "inside", replaced(kInside, "systemd_bin", systemd_program()));
  return has_sshd;
}

Json listed(const char* name) { return Json::parse(contents(kHere + name), nullptr, false); }

}  // namespace

TEST_CASE("service: slicer@.service and slicer-sos.socket do what they say under a real systemd") {
  if (systemd_program().empty()) SLICER_SKIP("no systemd here");
  if (!exists("/etc/machine-id")) SLICER_SKIP("no /etc/machine-id here, and systemd would write one");
  const GroupHost machine;
  Runner::use_stand_in();
  const std::string before = group_leftovers();
  const bool has_sshd = prepare();
  const Cgroup cgroup;
  if (!cgroup.usable()) SLICER_SKIP("no cgroup can be made here, which systemd needs");
  {
    const Background pid1({"sh", "-c",
                           "echo $$ >" + cgroup.path() +
                               "/cgroup.procs && exec unshare --pid --uts --ipc --cgroup --mount --fork --kill-child "
                               "--mount-proc bash " +
                               kHere + "inside >" + kHere + "log 2>&1"},
                          "");
    (void)eventually([] { return contents(kHere + "told").ends_with("done\n"); }, 60s);
  }
  INFO(contents(kHere + "log") << contents(kHere + "steps.log"));
  CHECK(contents(kHere + "told") == std::string("start 0 active\nreload 0\nback\n") +
                                        (has_sshd ? "ssh-ed25519\n" : "") + "stop 0 success\nleft 0\nfailed 0\ndone\n");
  for (const char* const file : {"running.json", "again.json"}) {
    const Json vms = listed(file);
    REQUIRE(vms.size() == 2);
    for (const Json& vm : vms) CHECK(vm["state"] == "running");
  }
  CHECK(listed("after.json") == Json::array());
  CHECK(group_leftovers() == before);
}

}  // namespace slicer::test
