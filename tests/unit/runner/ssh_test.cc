#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "runner/ssh/arrival.h"
#include "runner/ssh/copy.h"
#include "runner/ssh/ssh_command.h"
#include "runner/ssh/ssh_log.h"
#include "runner/state/vm_definition.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

std::string end_of(const std::string& text) {
  const CopyEnd end = parse_copy_end(text);
  return end.vm + "|" + end.path;
}

std::string source(const std::string& path) {
  const CopySource each = split_source(path);
  return each.folder + "|" + each.name;
}

unsigned mode_of(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0 ? info.st_mode & 07777U : 0;
}

}  // namespace

TEST_CASE("shell_line: every word arrives as it stands") {
  CHECK(shell_line({"echo", "a b", "", "it's", "$HOME;`x`\\", "-n\n"}) ==
        "'echo' 'a b' '' 'it'\\''s' '$HOME;`x`\\' '-n\n'");
}

TEST_CASE("vm cp: which end is the VM's") {
  CHECK(end_of("demo-1:/etc/hosts") == "demo-1|/etc/hosts");
  CHECK(end_of("demo-1:") == "demo-1|");
  CHECK(end_of("demo-1:a:b") == "demo-1|a:b");
  CHECK(end_of("file") == "|file");
  CHECK(end_of("./a:b") == "|./a:b");
  CHECK(end_of("/tmp/a:b") == "|/tmp/a:b");
}

TEST_CASE("vm cp: what of a source is taken from where") {
  CHECK(source("file") == ".|file");
  CHECK(source("a/b/") == "a|b");
  CHECK(source("/etc") == "/|etc");
  CHECK(source("/etc/hosts") == "/etc|hosts");
  CHECK(source("-x") == ".|-x");
  CHECK(source("a/.") == "a/.|.");
  CHECK(source("") == ".|.");
  CHECK(source(".") == ".|.");
  CHECK(source("/") == "/|.");
  CHECK(source("a/..") == "a/..|.");
}

TEST_CASE("what came from a guest: no devices, no setuid, no link followed") {
  const test::TempFolder folder;
  folder.folder("in/sub");
  folder.write("in/sub/tool", "x");
  folder.write("outside", "x");
  REQUIRE(chmod(folder.file("in/sub/tool").c_str(), 06755) == 0);
  REQUIRE(chmod(folder.file("outside").c_str(), 04755) == 0);
  REQUIRE(symlink("../outside", folder.file("in/link").c_str()) == 0);
  CHECK(check_arrival(folder.file("in")));
  CHECK(mode_of(folder.file("in/sub/tool")) == 0755);
  CHECK(mode_of(folder.file("outside")) == 04755);

  REQUIRE(mkfifo(folder.file("in/sub/pipe").c_str(), 0600) == 0);
  CHECK(check_arrival(folder.file("in")).error().message == "copy 'pipe': neither a file, a folder nor a link");
}

TEST_CASE("what came from a guest: folders are merged, files replaced") {
  const test::TempFolder folder;
  folder.folder("in/sub");
  folder.folder("out/sub");
  folder.write("in/sub/new", "new");
  folder.write("in/sub/both", "new");
  folder.write("out/sub/both", "old");
  folder.write("out/sub/old", "old");
  folder.write("secret", "old");
  REQUIRE(symlink("../secret", folder.file("out/taken").c_str()) == 0);
  folder.write("in/taken", "new");
  REQUIRE(put_in_place(folder.file("in"), folder.file("out")));
  const auto text = [&](const char* name) {
    std::string line;
    std::ifstream(folder.file(name)) >> line;
    return line;
  };
  CHECK(text("out/sub/new") == "new");
  CHECK(text("out/sub/both") == "new");
  CHECK(text("out/sub/old") == "old");
  CHECK(text("out/taken") == "new");
  CHECK(text("secret") == "old");  // the link was replaced, not written through

  folder.write("file", "x");
  CHECK(put_in_place(folder.file("file"), folder.file("out/sub")).error().kind == Kind::kExists);
}

TEST_CASE("ssh's own words: told without what our proxy has said, and with what to do") {
  CHECK(told_of_ssh("kex_exchange_identification: Connection closed by remote host\r\n"
                    "Connection closed by UNKNOWN port 65535\r\n") == "");
  CHECK(told_of_ssh("root@demo-1: Permission denied (publickey).\r\n") ==
        "root@demo-1: Permission denied (publickey).");
  CHECK(told_of_ssh("@@@@@@\r\n@ WARNING @\r\n@@@@\r\nHost key verification failed.\r\n") ==
        "@ WARNING @; Host key verification failed.");
  const std::string note =
      "clientloop.c:client_input_channel_req():1:debug1: client_input_channel_req: channel 0 rtype ";
  CHECK(told_of_ssh(note + "exit-status reply 0\r\n") == "");
  CHECK_FALSE(ended_by_signal(note + "exit-status reply 0\r\n"));
  CHECK(ended_by_signal(note + "exit-signal reply 0\r\n"));
  CHECK_FALSE(ended_by_signal("rtype exit-signal"));
  CHECK(hint_for_ssh("x: Permission denied (publickey).", "/k", "/p.pub").find("/p.pub") != std::string::npos);
  CHECK(hint_for_ssh("Host key verification failed.", "/k", "/p.pub").find("remove /k") != std::string::npos);
  CHECK(hint_for_ssh("anything", "/k", "/p.pub").empty());
}

TEST_CASE("ssh_argv: nobody's configuration, this VM's own host keys, the key of this host") {
  const test::TempFolder folder;
  Settings settings;
  settings.data_dir = folder.path();
  settings.state_dir = "/run/slicer";
  CHECK(ssh_argv(settings, "demo-1", {}).error().kind == Kind::kNotFound);
  folder.folder("ssh");
  folder.write("ssh/id_ed25519", "secret");
  folder.write("ssh/id_ed25519.pub", "ssh-ed25519 AAAA x\n");
  SshWish wish;
  wish.command = {"echo", "a b"};
  const std::vector<std::string> argv = ssh_argv(settings, "demo-1", wish).value();
  const auto has = [&](const std::string& word) { return std::ranges::find(argv, word) != argv.end(); };
  CHECK(argv[1] == "-F");
  CHECK(argv[2] == "none");
  CHECK(has("UserKnownHostsFile=/run/slicer/demo-1/known_hosts"));
  CHECK(has("GlobalKnownHostsFile=none"));
  CHECK(has("HostKeyAlias=demo-1"));
  CHECK(has("-T"));
  CHECK(argv.back() == "'echo' 'a b'");
  // A VM with a disk of its own has its host key there, and shows the same one after a restart.
  VmDefinition kept;
  kept.name = "demo-1";
  kept.kept_disk = KeptDisk{.format = "qcow2"};
  REQUIRE(save_definition(settings, kept));
  CHECK(known_hosts_file(settings, "demo-1") == folder.file("vms/demo-1/known_hosts"));
}

}  // namespace slicer::runner
