// Consoles over SSH: a real sshd and a real ssh.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

constexpr uint16_t kPort = 2222;

void put(const std::string& path, const std::string& text, mode_t mode = 0600) {
  std::ofstream(path) << text;
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

/// What slicer-sos.socket does: a process for each connection.
void serve(int listener) {
  (void)signal(SIGCHLD, SIG_IGN);
  const std::vector<std::string> words = Runner::argv("sos --inetd --config /run/sos/sshd_config");
  std::vector<const char*> argv;
  for (const std::string& word : words) argv.push_back(word.c_str());
  argv.push_back(nullptr);
  for (;;) {
    const UniqueFd client(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
    if (fork() != 0) continue;
    (void)signal(SIGCHLD, SIG_DFL);
    if (dup2(client.get(), 0) >= 0 && dup2(client.get(), 1) >= 0)
      (void)execv(argv[0], const_cast<char* const*>(argv.data()));
    _exit(127);
  }
}

UniqueFd listening() {
  UniqueFd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at = {};
  at.sin_family = AF_INET;
  at.sin_port = htons(kPort);
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 || listen(fd.get(), 16) != 0)
    give_up("listen");
  return fd;
}

const char* const kClient =
    "ssh -F none -p 2222 -o BatchMode=yes -o UserKnownHostsFile=/run/sos/known -o StrictHostKeyChecking=accept-new "
    "-o LogLevel=ERROR -o IdentitiesOnly=yes ";

Outcome client(const std::string& line, const std::string& key = "/run/sos/key") {
  return run({"sh", "-c", kClient + ("-i " + key + " " + line)}, {.deadline = 30s});
}

}  // namespace

TEST_CASE("sos: an SSH login named after a VM is on its console, and can do nothing else") {
  const Host host;
  const Runner runner;
  if (const std::string reason = Runner::prepare_sshd(); !reason.empty()) SLICER_SKIP(reason);
  // sshd takes keys only from where nobody else can write.
  REQUIRE(chmod("/run", 0755) == 0);
  REQUIRE(mkdir("/run/sos", 0700) == 0);
  for (const char* key : {"host", "key", "other"})
    REQUIRE(run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", std::string("/run/sos/") + key}).ok());
  put("/run/sos/authorized_keys", contents("/run/sos/key.pub"));
  // As it is shipped, but for the paths. A careless edit gives no shell.
  std::string config = contents(std::string(SLICER_HOST_FILES) + "/sshd_config");
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"/etc/ssh/ssh_host_ed25519_key", "/run/sos/host"},
           {"/etc/slicer/sos/authorized_keys", "/run/sos/authorized_keys"}}) {
    REQUIRE(config.find(from) != std::string::npos);
    config.replace(config.find(from), from.size(), to);
  }
  put("/run/sos/sshd_config", config + "ForceCommand none\nAllowTcpForwarding yes\n");
  REQUIRE(Runner::start("demo-1").ok());
  REQUIRE(Runner::says("demo-1", "TINY-READY"));
  const UniqueFd listener = listening();
  const Background server([&] { serve(listener.get()); });

  REQUIRE(mkfifo("/run/sos/typed", 0600) == 0);
  const Background session(
      {"sh", "-c",
       std::string(kClient) + "-i /run/sos/key -tt demo-1@127.0.0.1 </run/sos/typed >/run/sos/seen 2>&1; "
                              "echo ended $? >>/run/sos/seen"},
      "");
  const auto sees = [](const std::string& text) {
    return eventually([&] { return contents("/run/sos/seen").find(text) != std::string::npos; }, 20s);
  };
  std::ofstream typed("/run/sos/typed");
  CHECK(sees("console of 'demo-1': ctrl-] leaves it"));
  typed << "hello" << std::flush;
  CHECK(sees("hello"));
  CHECK(Runner::says("demo-1", "hello"));
  typed << '\x1d' << std::flush;
  CHECK(sees("ended 0"));

  const auto refused = [](const std::string& line, const std::string& message,
                          const std::string& key = "/run/sos/key") {
    CAPTURE(line);
    const Outcome outcome = client(line, key);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code != 0);
    CHECK((outcome.out + outcome.err).find(message) != std::string::npos);
  };
  refused("root@127.0.0.1", "Permission denied");
  refused("demo-2@127.0.0.1", "Permission denied");
  refused("demo-1@127.0.0.1", "Permission denied", "/run/sos/other");
  refused("demo-1@127.0.0.1 id", "takes no command");
  refused("sos@127.0.0.1", "which VM? demo-1");
  refused("sos@127.0.0.1 'demo-1;id'", "is not a DNS name");
  refused("sos@127.0.0.1 demo-2", "no VM 'demo-2'");
  refused("-s demo-1@127.0.0.1 sftp", "subsystem request failed");
  refused("-W 127.0.0.1:2222 demo-1@127.0.0.1", "forwarding failed");
  CHECK(contents("/etc/passwd").find("demo-1") == std::string::npos);  // the host's own accounts are as before
  CHECK(run({"ls", "-A", "/run/sshd"}).out.empty());
}

TEST_CASE("sos: by hand it says what it is for") {
  const Host host;
  const Runner runner;
  const Outcome alone = Runner::run("sos");
  CHECK(alone.exit_code == 1);
  CHECK(alone.err.find("this is no SSH session") != std::string::npos);
  const Outcome served = Runner::run("sos --inetd");
  CHECK(served.exit_code == 1);
  CHECK(served.err.find("stdin is no socket") != std::string::npos);
  // Stronger than the command line's ForceCommand: a shell for whoever has a key.
  put("/run/sshd_config", "PrintMotd no\nMatch User demo-1\nForceCommand none\n");
  const Outcome strong =
      run({"socat", "/dev/null", "EXEC:" + Runner::argv("")[0] + " sos --inetd --config /run/sshd_config"});
  CHECK(strong.err.find("read '/run/sshd_config': line 2: 'Match' and 'Include' are not allowed here") !=
        std::string::npos);
}

}  // namespace slicer::test
