// The ways into a real guest: exec, cp, shell, forward.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

struct Machine {
  Host host;
  Runner runner;

  Machine() {
    for (const auto& list : std::filesystem::directory_iterator(SLICER_CONFLIST_DIR))
      std::filesystem::copy(list.path(), "/etc/cni/net.d/");
    Runner::install_demo_image();
    std::filesystem::create_directories("/run/files");
  }
};

/// `vm exec demo-1 [OPTIONS] -- COMMAND…`, each word as it stands.
Outcome in_guest(const std::vector<std::string>& command, const std::string& in = {}, const std::string& options = {}) {
  std::vector<std::string> argv = Runner::argv("vm exec demo-1 " + options + " --");
  argv.insert(argv.end(), command.begin(), command.end());
  return run(argv, {.in = in, .deadline = 120s});
}

Outcome shell(const std::string& line) { return in_guest({"sh", "-c", line}); }

void put(const std::string& path, const std::string& text, mode_t mode = 0644) {
  std::ofstream(path, std::ios::binary) << text;
  REQUIRE(chmod(path.c_str(), mode) == 0);
}

unsigned mode_of(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

/// Every value of a byte in every place of a block, `blocks` times, and a number in each block.
std::string bytes(size_t blocks) {
  std::string text;
  for (size_t block = 0; block < blocks; ++block) {
    text += std::to_string(block);
    for (int byte = 0; byte < 256; ++byte) text += static_cast<char>(byte);
  }
  return text;
}

/// A `forward` in the background; where it listens, as it said.
class Forward {
 public:
  explicit Forward(const std::string& specs)
      : child_({"sh", "-c", "exec " + Runner::argv("")[0] + " forward demo-1 " + specs + " >/run/forward 2>&1"}, "") {
    if (!eventually([] { return contents("/run/forward").ends_with("\n"); }, 15s)) give_up("forward says nothing");
  }
  ~Forward() { std::filesystem::remove("/run/forward"); }
  Forward(const Forward&) = delete;
  Forward& operator=(const Forward&) = delete;
  [[nodiscard]] static std::string port() {
    const std::string said = contents("/run/forward");
    const size_t begin = said.find(':') + 1;
    return said.substr(begin, said.find_first_not_of("0123456789", begin) - begin);
  }

 private:
  Background child_;
};

void check_exec() {
  // The first waits until the guest is up.
  const Outcome first = in_guest({"hostname"});
  INFO(first.err);
  CHECK(first.exit_code == 0);
  CHECK(first.out == "demo-1\n");
  CHECK(first.err.empty());
  for (const int code : {0, 1, 7, 127, 254}) CHECK(shell("exit " + std::to_string(code)).exit_code == code);
  const Outcome apart = shell("echo out; echo err >&2");
  CHECK(apart.out == "out\n");
  CHECK(apart.err == "err\n");
  CHECK(in_guest({"printf", "%s|", "a b", "", "it's", "[x,y]", "$HOME", "--help", "\\"}).out ==
        "a b||it's|[x,y]|$HOME|--help|\\|");
  const std::string all = bytes(8000);  // 2 MiB
  const Outcome echo = in_guest({"cat"}, all);
  CHECK((echo.out == all));  // not to be shown
  CHECK(shell("tty").out == "not a tty\n");
  CHECK(in_guest({"tty"}, "", "--tty").out.starts_with("/dev/pts/"));
  CHECK(in_guest({"true"}, "", "--user nobody").exit_code == 255);
}

void check_shell() {
  // Commands from a pipe, whose end is the shell's.
  const Outcome piped = run(Runner::argv("vm shell demo-1"), {.in = "tty\n(exit 3)\n", .deadline = 60s});
  CHECK(piped.exit_code == 3);
  CHECK(piped.out == "not a tty\n");
}

void check_copies() {
  std::filesystem::create_directories("/run/files/site/sub");
  put("/run/files/site/tool", bytes(100), 0750);
  put("/run/files/site/sub/-odd 'name'", "odd\n", 0600);
  REQUIRE(symlink("tool", "/run/files/site/link") == 0);
  CHECK(Runner::run("vm cp /run/files/site demo-1:/tmp/site").ok());
  CHECK(shell("stat -c '%a %u' /tmp/site/tool").out == "750 0\n");
  CHECK(shell("stat -c %a \"/tmp/site/sub/-odd 'name'\"").out == "600\n");
  CHECK(shell("readlink /tmp/site/link").out == "tool\n");
  CHECK(Runner::run("vm cp /run/files/site demo-1:/tmp").ok());         // merges
  CHECK(Runner::run("vm cp /run/files/site demo-1:/tmp/site/").ok());   // into it
  CHECK(Runner::run("vm cp /run/files/site/. demo-1:/tmp/flat").ok());  // its content
  CHECK(shell("mkdir -m 711 /tmp/own").ok());
  CHECK(Runner::run("vm cp /run/files/site/. demo-1:/tmp/own").ok());
  CHECK(shell("stat -c %a /tmp/own; ls -A /tmp/own").out == "711\nlink\nsub\ntool\n");
  CHECK(shell("ls /tmp/site/site/tool /tmp/flat/tool | wc -l").out == "2\n");
  CHECK(Runner::run("vm cp /run/files/site/link demo-1:copy").ok());  // a link's file; the user's home
  CHECK((shell("cat /root/copy").out == bytes(100)));

  CHECK(Runner::run("vm cp demo-1:/tmp/site /run/files/back").ok());
  CHECK((contents("/run/files/back/tool") == bytes(100)));
  CHECK(mode_of("/run/files/back/tool") == 0750);
  CHECK(mode_of("/run/files/back/sub/-odd 'name'") == 0600);
  CHECK(std::filesystem::read_symlink("/run/files/back/link") == "tool");
  CHECK(shell("chmod 4755 /tmp/site/tool").ok());
  CHECK(Runner::run("vm cp demo-1:/tmp/site/tool /run/files").ok());
  CHECK(mode_of("/run/files/tool") == 0755);
  const Outcome none = Runner::run("vm cp demo-1:/tmp/none /run/files");
  CHECK(none.exit_code == 1);
  CHECK(none.err.find("none") != std::string::npos);
  CHECK(Runner::run("vm cp /run/files/none demo-1:/tmp").exit_code == 1);
  CHECK(shell("ls -A /tmp /root | grep -c slicer-cp").out == "0\n");
  CHECK_FALSE(run({"sh", "-c", "ls -A /run/files | grep -q slicer-cp"}).ok());
}

void check_forwards() {
  // Only on the guest's own loopback.
  REQUIRE(shell("httpd -p 127.0.0.1:8081 -h /www").ok());
  const auto page = [](const std::string& where) {
    return run(words("curl -s --max-time 20 " + where)).out.find("Hello from demo-1") != std::string::npos;
  };
  {
    const Forward forward("0:127.0.0.1:8081");
    CHECK(page("http://127.0.0.1:" + Forward::port() + "/"));
    // Nobody there either: an error, not an empty answer.
  }
  {
    const Forward forward("0:9 /run/web.sock:80");
    CHECK(page("--unix-socket /run/web.sock http://x/"));
    CHECK(mode_of("/run/web.sock") == 0600);
    CHECK(run(words("curl -s --max-time 20 http://127.0.0.1:" + Forward::port() + "/")).exit_code == 56);  // reset
  }
  {
    // A host that the guest reaches: itself, by its address as it knows it.
    const Forward forward("0:127.0.0.2:80");
    CHECK(page("http://127.0.0.1:" + Forward::port() + "/"));
  }
  REQUIRE(Runner::run("vm cp " + Runner::plugin_dir() + "/udp_echo demo-1:/tmp").ok());
  REQUIRE(shell("/tmp/udp_echo 5353").ok());
  {
    const Forward forward("0:5353/udp");
    CHECK(eventually([] {
      return run(words("socat -t 2 - UDP:127.0.0.1:" + Forward::port()), {.in = "datagram"}).out == "datagram";
    }));
  }
  const Outcome client =
      run({"ssh", "-F", "none", "-i", "/var/lib/slicer/ssh/id_ed25519", "-o", "BatchMode=yes", "-o",
           "UserKnownHostsFile=/run/files/known", "-o", "StrictHostKeyChecking=accept-new", "-o",
           "ProxyCommand=" + Runner::argv("")[0] + " forward %h --stdio %p", "root@demo-1", "hostname; exit 5"},
          {.deadline = 60s});
  CHECK(client.out == "demo-1\n");
  CHECK(client.exit_code == 5);
}

}  // namespace

TEST_CASE("guest ssh: exec, shell, cp and forward on a bridge") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  put("/run/demo.yaml",
      "config:\n"
      "  host_groups:\n"
      "  - name: demo\n"
      "    count: 1\n"
      "    dns_servers: [192.0.2.53]\n"
      "    ssh_keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJAgIZMCJUS1vnG9QtkYTmRV9bXzM3fdu0fSL5qBNAIo a@example\"]\n"
      "    userdata: |\n"
      "      #!/bin/sh\n"
      "      echo \"told by ${0##*/}\" >/tmp/told\n"
      "    network:\n"
      "      gateway: 192.0.2.1/24\n");
  const Outcome up = Runner::run("up --detach /run/demo.yaml");
  INFO(up.err);
  REQUIRE(up.ok());
  check_exec();
  CHECK(shell("until [ -s /tmp/told ]; do usleep 100000; done; cat /tmp/told").out == "told by userdata\n");
  CHECK(shell("grep -c a@example$ /root/.ssh/authorized_keys").out == "1\n");
  CHECK(shell("cat /etc/resolv.conf").out == "nameserver 192.0.2.53\n");
  check_shell();
  check_copies();
  check_forwards();
  // Its host keys go with it, so that the next VM of that name is a new acquaintance.
  CHECK(exists("/run/slicer/demo-1/known_hosts"));
  CHECK(Runner::run("vm rm demo-1").ok());
  CHECK(in_guest({"true"}).exit_code == 255);
}

TEST_CASE("guest ssh: an isolated guest, too") {
  SLICER_NEEDS_DEMO_IMAGE();
  const Machine machine;
  REQUIRE(Runner::run("vm new demo-1 --network slicer-isolated").ok());
  CHECK(in_guest({"hostname"}).out == "demo-1\n");
  put("/run/files/one", "one\n");
  CHECK(Runner::run("vm cp /run/files/one demo-1:/tmp").ok());
  CHECK(Runner::run("vm cp demo-1:/tmp/one /run/files/two").ok());
  CHECK(contents("/run/files/two") == "one\n");
  REQUIRE(shell("httpd -p 127.0.0.1:8081 -h /www").ok());
  const Forward forward("0:127.0.0.1:8081");
  CHECK(run(words("curl -s --max-time 20 http://127.0.0.1:" + Forward::port() + "/")).out.find("Hello from demo-1") !=
        std::string::npos);
}

}  // namespace slicer::test
