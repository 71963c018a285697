// exec, cp and forward by a real ssh to a real sshd, which stands in for a guest's: it runs in a namespace that has the
// VM's address, on this machine's files.
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/stat.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/system/runner/runner_support.h"

namespace slicer::test {
namespace {

using namespace std::chrono_literals;

constexpr const char* kConfig =
    "Port 22\nListenAddress 192.0.2.2\nHostKey /run/guest/host_key\nPidFile none\nStrictModes no\nUsePAM no\n"
    "PermitRootLogin prohibit-password\nAuthorizedKeysFile /var/lib/slicer/ssh/id_ed25519.pub\n";

/// The VM demo-1, and a server where its guest would be.
class SshGuest {
 public:
  /// `more`: of its server's configuration.
  explicit SshGuest(const std::string& more = {}) {
    connect({.link = "peer0", .address = "192.0.2.1/24"},
            {.netns = guest_.path(), .link = "eth0", .address = "192.0.2.2/24"});
    std::filesystem::create_directories("/run/guest");
    std::filesystem::create_directories("/run/sshd");
    std::ofstream("/run/guest/sshd_config") << kConfig << more;
    if (const Outcome made = Runner::start("demo-1"); !made.ok()) give_up(made.err);
    restart();
  }

  /// With a new host key, as a guest that was set up anew.
  void restart() {
    server_.reset();
    (void)run(words("rm -f /run/guest/host_key /run/guest/host_key.pub"));
    if (!run({"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/run/guest/host_key"}).ok())
      give_up("make a host key");
    const std::string sshd = run({"sh", "-c", "command -v sshd"}).out;
    server_.emplace(std::vector<std::string>{sshd.substr(0, sshd.find('\n')), "-D", "-f", "/run/guest/sshd_config"},
                    guest_.path());
  }
  [[nodiscard]] std::string netns() const { return guest_.path(); }

 private:
  Netns guest_{"guest"};
  std::optional<Background> server_ = {};
};

struct Machine {
  StandInMachine host;
  std::string missing = Runner::prepare_sshd();
};

Outcome in_guest(const std::string& line) {
  std::vector<std::string> argv = Runner::argv("vm exec demo-1 -- sh -c");
  argv.push_back(line);
  return run(argv);
}

/// Names in a folder; those of an unfinished copy alone, or the others.
std::string names_in(const std::string& folder, bool unfinished) {
  std::string names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with(".slicer-cp") == unfinished) names += name + " ";
  }
  return names;
}

}  // namespace

TEST_CASE("ssh vm exec: a command that a signal ended is told of, an exit code speaks for itself") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  const SshGuest guest;
  const Outcome good = in_guest("echo out; echo err >&2; exit 7");
  CHECK(good.exit_code == 7);
  CHECK(good.out == "out\n");
  CHECK(good.err == "err\n");
  const Outcome killed = in_guest("kill -KILL $$");
  CHECK(killed.exit_code == 255);
  CHECK(killed.err == "slicer-run: the command in 'demo-1' was ended by a signal\n");
  const Outcome its_own = in_guest("exit 255");
  CHECK(its_own.exit_code == 255);
  CHECK(its_own.err == "");
}

TEST_CASE("ssh: a VM made anew is a new acquaintance, another key under a running one is refused") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  SshGuest guest;
  CHECK(in_guest("true").ok());
  guest.restart();
  const Outcome changed = in_guest("echo trusted");
  CHECK(changed.exit_code == 255);
  CHECK(changed.out == "");
  CHECK(changed.err.find("Host key verification failed") != std::string::npos);
  CHECK(changed.err.find("remove /run/slicer/demo-1/known_hosts\n") != std::string::npos);
  const Outcome copied = Runner::run("vm cp /etc/passwd demo-1:/run/guest/copy");
  CHECK(copied.exit_code == 1);
  CHECK_FALSE(exists("/run/guest/copy"));

  REQUIRE(Runner::run("vm rm --now demo-1").ok());
  REQUIRE(Runner::start("demo-1").ok());
  const Outcome anew = in_guest("echo hello");
  CHECK(anew.out == "hello\n");
  CHECK(anew.err == "");  // no warning of an old one

  // What a kept disk knows it knows again.
  REQUIRE(Runner::run("vm rm --now demo-1").ok());
  REQUIRE(Runner::start("demo-1", "host", "--storage 1M").ok());
  CHECK(in_guest("true").ok());
  REQUIRE(Runner::run("vm restart --now demo-1").ok());
  CHECK(in_guest("true").err == "");
  guest.restart();
  CHECK(in_guest("true").err.find("remove /var/lib/slicer/vms/demo-1/known_hosts\n") != std::string::npos);
}

TEST_CASE("ssh vm cp: into a folder that is there, all of it or nothing") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  const SshGuest guest;
  for (const char* const folder : {"/run/here/site/sub", "/run/here/site/.hidden", "/run/there/site/sub"})
    std::filesystem::create_directories(folder);
  for (const char* const file : {"site/sub/new", "site/.hidden/x", "site/both", "-odd 'name'"})
    std::ofstream(std::string("/run/here/") + file) << "new";
  std::ofstream("/run/there/site/both") << "old";
  std::ofstream("/run/there/site/sub/old") << "old";
  REQUIRE(chmod("/run/there/site", 0711) == 0);
  const Outcome merged = Runner::run("vm cp /run/here/site demo-1:/run/there");
  CHECK_MESSAGE(merged.ok(), merged.err);
  CHECK(contents("/run/there/site/both") == "new");
  CHECK(contents("/run/there/site/sub/old") == "old");
  CHECK(contents("/run/there/site/sub/new") == "new");
  CHECK(contents("/run/there/site/.hidden/x") == "new");
  struct stat info{};
  CHECK((stat("/run/there/site", &info) == 0 && (info.st_mode & 0777U) == 0711));  // it was there
  CHECK(Runner::run("vm cp /run/here/. demo-1:/run/there/").ok());
  CHECK(contents("/run/there/-odd 'name'") == "new");
  CHECK(Runner::run("vm cp /run/here/. demo-1:/run/fresh/deep/").ok());
  CHECK(contents("/run/fresh/deep/site/.hidden/x") == "new");
  std::filesystem::create_directories("/run/there/taken");
  std::ofstream("/run/here/taken") << "a file";
  const Outcome taken = Runner::run("vm cp /run/here/taken demo-1:/run/there");
  CHECK(taken.exit_code == 1);
  CHECK(taken.err.find("'/run/there/taken' is a folder") != std::string::npos);
  for (const char* const folder : {"/run/there", "/run/fresh", "/run/fresh/deep", "/run/slicer"})
    CHECK(names_in(folder, true) == "");
}

TEST_CASE("ssh vm cp: needs GNU tar on this machine, under either name, and says so before it does anything") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  const SshGuest guest;
  const std::string tar = run({"sh", "-c", "command -v tar"}).out;
  write_text("/run/file", "what is copied");
  std::filesystem::create_directories("/run/stand-in");
  write_text("/run/stand-in/tar", "#!/bin/sh\necho 'bsdtar 3.6.2 - libarchive 3.6.2'\n");
  REQUIRE(chmod("/run/stand-in/tar", 0755) == 0);
  for (const char* const line : {"vm cp /run/file demo-1:/run/there", "vm cp demo-1:/run/file /run/there"}) {
    CAPTURE(line);
    std::filesystem::remove("/run/stand-in/gtar");
    const Outcome refused = Runner::run(line);
    CHECK(refused.exit_code == 1);
    CHECK(refused.err.find("'/run/stand-in/tar' is not GNU tar") != std::string::npos);
    CHECK_FALSE(exists("/run/there"));
    CHECK(names_in("/run", true) == "");
    std::filesystem::create_symlink(tar.substr(0, tar.find('\n')), "/run/stand-in/gtar");
    const Outcome copied = Runner::run(line);
    CHECK_MESSAGE(copied.ok(), copied.err);
    CHECK(contents("/run/there") == "what is copied");
    std::filesystem::remove("/run/there");
  }
}

/// One member of a tar stream (POSIX.1-2017, pax: ustar interchange format).
struct Member {
  std::string name = {};
  char type = '0';
  std::string link = {};
  std::string content = {};
  unsigned mode = 0644;
};
std::string tar_stream(const std::vector<Member>& members) {
  std::string stream;
  for (const Member& member : members) {
    std::string head(512, '\0');
    const auto put = [&](size_t at, const std::string& text) { head.replace(at, text.size(), text); };
    const auto octal = [](unsigned long value) {
      std::array<char, 16> text{};
      (void)std::snprintf(text.data(), text.size(), "%07lo", value);
      return std::string(text.data());
    };
    put(0, member.name);
    put(100, octal(member.mode));
    put(108, octal(0));
    put(116, octal(0));
    put(124, "0000" + octal(member.content.size()));
    put(136, "0000" + octal(0));
    put(148, std::string(8, ' '));
    head[156] = member.type;
    put(157, member.link);
    put(257, std::string("ustar\00000", 8));
    put(329, octal(1));  // a device's numbers
    put(337, octal(3));
    unsigned long sum = 0;
    for (const char each : head) sum += static_cast<unsigned char>(each);
    put(148, octal(sum).substr(1) + std::string("\0 ", 2));
    stream += head + member.content + std::string((512 - member.content.size() % 512) % 512, '\0');
  }
  return stream + std::string(1024, '\0');
}

TEST_CASE("ssh vm cp: a hostile guest's stream stays in its folder, and what it says does nothing to a terminal") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  std::filesystem::create_directories("/run/hostile");
  write_text("/run/hostile/tar", "#!/bin/sh\nprintf '\\033]0;mine\\007\\n' >&2\nexec cat /run/hostile/stream\n");
  REQUIRE(chmod("/run/hostile/tar", 0755) == 0);
  const SshGuest guest(std::string("SetEnv PATH=/run/hostile:") + getenv("PATH") + "\n");
  for (const char* const folder : {"/run/outside", "/run/to"}) std::filesystem::create_directories(folder);
  write_text("/run/secret", "secret");
  const Member site{.name = "site/", .type = '5', .mode = 0755};
  const std::vector<std::vector<Member>> streams{
      {site, {.name = "../escaped", .content = "x"}},
      {site, {.name = "site/../../escaped", .content = "x"}},
      {site, {.name = "/run/outside/absolute", .content = "x"}},
      {site, {.name = "site/out", .type = '2', .link = "/run/outside"}, {.name = "site/out/through", .content = "x"}},
      {site, {.name = "site/up", .type = '2', .link = "../../outside"}, {.name = "site/up/through", .content = "x"}},
      {site, {.name = "site/hard", .type = '1', .link = "/run/secret"}, {.name = "site/hard", .content = "x"}},
      {site, {.name = "site/hard", .type = '1', .link = "../../secret"}, {.name = "site/hard", .content = "x"}},
      {{.name = "site", .type = '2', .link = "/run/outside"}, {.name = "site/through", .content = "x"}}};
  for (const std::vector<Member>& stream : streams) {
    CAPTURE(stream.back().name);
    write_text("/run/hostile/stream", tar_stream(stream));
    (void)Runner::run("vm cp demo-1:/run/site /run/to");
    CHECK(names_in("/run/outside", false) == "");
    CHECK_FALSE(exists("/run/escaped"));
    CHECK(contents("/run/secret") == "secret");
    CHECK(std::filesystem::hard_link_count("/run/secret") == 1);
    CHECK(names_in("/run/to", true) == "");
    std::filesystem::remove_all("/run/to/site");
  }
  write_text("/run/hostile/stream", tar_stream({site, {.name = "site/dev", .type = '3', .mode = 0666}}));
  CHECK(Runner::run("vm cp demo-1:/run/site /run/to").exit_code == 1);
  CHECK_FALSE(exists("/run/to/site"));
  write_text("/run/hostile/stream", tar_stream({site, {.name = "site/tool", .content = "x", .mode = 06755}}));
  const Outcome copied = Runner::run("vm cp demo-1:/run/site /run/to");
  CHECK_MESSAGE(copied.ok(), copied.err);
  CHECK(copied.err == "\x1b]0;mine\x07\n");  // to a file or pipe as it was
  struct stat info{};
  CHECK((stat("/run/to/site/tool", &info) == 0 && (info.st_mode & 07777U) == 0755));
  std::string line;
  for (const std::string& word : Runner::argv("vm cp demo-1:/run/site /run/to")) line += word + " ";
  const Outcome shown = run({"script", "-qec", line, "/dev/null"});
  CHECK(shown.out.find("^[]0;mine^G") != std::string::npos);
  CHECK(shown.out.find('\x1b') == std::string::npos);
}

TEST_CASE("ssh vm cp: interrupted, nothing of it stays on either side") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  const SshGuest guest;
  std::filesystem::create_directories("/run/from/set");
  std::filesystem::create_directories("/run/to");
  std::ofstream("/run/from/set/1") << "small";
  std::ofstream("/run/from/set/2") << "";
  std::filesystem::resize_file("/run/from/set/2", uint64_t{1} << 40);  // a hole; more than there is time for
  for (const std::string line : {"/run/from/set demo-1:/run/to", "demo-1:/run/from/set /run/to"}) {
    for (const int number : {SIGINT, SIGTERM}) {
      CAPTURE(line);
      CAPTURE(number);
      const Background copying(Runner::argv("vm cp " + line), "");
      REQUIRE(eventually([] { return !names_in("/run/to", true).empty(); }, 20s));
      REQUIRE(kill(copying.pid(), number) == 0);
      CHECK(eventually([&] { return !runs(copying.pid()); }, 20s));
      CHECK(eventually([] { return names_in("/run/to", true).empty(); }, 20s));  // the guest's end follows
      CHECK(names_in("/run/to", false) == "");
      CHECK(names_in("/run/slicer", true) == "");
    }
  }
}

TEST_CASE("ssh forward: [::1] is the guest's IPv6 loopback") {
  const Machine machine;
  if (!machine.missing.empty()) SLICER_SKIP(machine.missing);
  const SshGuest guest;
  const Background six({"socat", "TCP6-LISTEN:9000,bind=[::1],fork", "SYSTEM:echo six"}, guest.netns());
  const Background four({"socat", "TCP4-LISTEN:9000,bind=127.0.0.1,fork", "SYSTEM:echo four"}, guest.netns());
  const Background forward(
      {"sh", "-c",
       "exec " + Runner::argv("")[0] + " forward demo-1 /run/six:[::1]:9000 /run/four:127.0.0.1:9000 >/run/told 2>&1"},
      "");
  REQUIRE(eventually([] { return contents("/run/told").find("/run/four leads") != std::string::npos; }, 10s));
  CHECK(eventually([] { return run(words("socat -u UNIX-CONNECT:/run/six -")).out == "six\n"; }, 20s));
  CHECK(eventually([] { return run(words("socat -u UNIX-CONNECT:/run/four -")).out == "four\n"; }, 20s));
}

}  // namespace slicer::test
