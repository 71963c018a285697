#include "lib/cni/delegate.h"

#include <dirent.h>
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "lib/base/whole_file.h"
#include "lib/cni/error.h"

namespace slicer::cni {
namespace {

// A folder of plugins that are shell scripts, as foreign plugins may be.
class Plugins {
 public:
  Plugins() {
    std::string name = "/tmp/delegate_test-XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
  }
  Plugins(const Plugins&) = delete;
  Plugins& operator=(const Plugins&) = delete;
  ~Plugins() {
    std::error_code error;
    std::filesystem::remove_all(folder_, error);
  }
  void write(const std::string& name, const std::string& script, unsigned mode = 0755) const {
    REQUIRE(write_whole_file(folder_ + "/" + name, "#!/bin/sh\n" + script, {.mode = mode}).has_value());
    REQUIRE(chmod((folder_ + "/" + name).c_str(), mode) == 0);
  }
  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }
  [[nodiscard]] Request request(const std::string& keys = "") const {
    return {.env = {.command = Command::kAdd,
                    .container_id = "vm1",
                    .netns = "/run/netns/x",
                    .ifname = "eth0",
                    .args = {{"A", "1"}, {"B", "2"}},
                    .path = {"/nonexistent", folder_}},
            .conf = parse_net_conf(R"({"cniVersion": "1.0.0", "name": "net", "type": "t")" + keys + "}").value()};
  }
  [[nodiscard]] Result<std::string> call(const std::string& type, const std::string& keys = "") const {
    return call_delegate(request(keys), {.type = type, .command = Command::kAdd});
  }

 private:
  std::string folder_;
};

size_t open_descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

// How often a pipe or a file in memory is named.
size_t pipes_in(const std::string& text) {
  size_t count = 0;
  for (const char* kind : {"pipe:", "memfd:"})
    for (size_t at = text.find(kind); at != std::string::npos; at = text.find(kind, at + 1)) ++count;
  return count;
}

}  // namespace

TEST_CASE("find_plugin: the first executable file of the folders") {
  const Plugins plugins;
  plugins.write("ipam", "");
  plugins.write("text", "", 0644);
  CHECK(find_plugin("ipam", plugins.request().env.path).value() == plugins.path("ipam"));
  CHECK(find_plugin("text", plugins.request().env.path).error().kind == Kind::kNotFound);
  const Error error = find_plugin("absent", {"/a", "/b"}).error();
  CHECK(error.kind == Kind::kNotFound);
  CHECK(error.message == "find plugin 'absent' in '/a:/b': no such executable file");
  for (const char* type : {"", ".", "..", "../ipam", "/bin/true", "a/b"}) {
    CAPTURE(type);
    CHECK(find_plugin(type, {"/bin"}).error().kind == Kind::kInvalidConfig);
  }
}

TEST_CASE("call_delegate: the whole configuration on stdin") {
  const Plugins plugins;
  plugins.write("echo", "exec cat");
  const std::string output = plugins.call("echo", R"(, "ipam": {"x": [1, 2]}, "capabilities": {"ips": true})").value();
  CHECK(parse_json(output).value() ==
        plugins.request(R"(, "ipam": {"x": [1, 2]}, "capabilities": {"ips": true})").conf.raw);
}

TEST_CASE("call_delegate: the call's variables in place of the process's own, and all others as they are") {
  const Plugins plugins;
  plugins.write("env", "env | grep ^CNI_ | sort");
  REQUIRE(setenv("CNI_COMMAND", "BOGUS", 1) == 0);
  REQUIRE(setenv("CNI_STRAY", "1", 1) == 0);
  REQUIRE(setenv("CNI_ARGS", "B=2;A=1", 1) == 0);
  const auto variables = [&](const std::string& extra) {
    return "CNI_ARGS=B=2;A=1\nCNI_COMMAND=CHECK\nCNI_CONTAINERID=vm1\nCNI_IFNAME=eth0\nCNI_NETNS=/run/netns/x\n" +
           extra + "CNI_PATH=/nonexistent:" + plugins.path("env").substr(0, plugins.path("env").rfind('/')) +
           "\nCNI_STRAY=1\n";
  };
  const Request request = plugins.request();
  CHECK(call_delegate(request, {.type = "env", .command = Command::kCheck}).value() == variables(""));
  CHECK(call_delegate(request, {.type = "env", .command = Command::kCheck, .netns_override = true}).value() ==
        variables("CNI_NETNS_OVERRIDE=1\n"));
  unsetenv("CNI_COMMAND");
  unsetenv("CNI_STRAY");
  unsetenv("CNI_ARGS");
}

TEST_CASE("call_delegate: an error object keeps its code") {
  const Plugins plugins;
  plugins.write("bad", R"(echo '{"cniVersion":"1.0.0","code":11,"msg":"later","details":"wait"}'; exit 1)");
  const Error error = plugins.call("bad").error();
  CHECK(error.kind == Kind::kDelegate);
  CHECK(error_code(error) == 11);
  CHECK(error.message == "run 'bad': later");
  CHECK(error.hint == "wait");
}

TEST_CASE("call_delegate: every other end is an error of ours") {
  const Plugins plugins;
  plugins.write("silent", "exit 3");
  plugins.write("words", "echo panic; exit 2");
  plugins.write("killed", "kill -KILL $$");
  REQUIRE(write_whole_file(plugins.path("garbage"), "#!/nonexistent/interpreter\n", {.mode = 0755}).has_value());
  CHECK(plugins.call("silent").error().message == "run 'silent': failed without an error object");
  CHECK(plugins.call("words").error().message.find("'panic") != std::string::npos);
  CHECK(plugins.call("killed").error().message == "run 'killed': ended by signal 9 (SIGKILL)");
  CHECK(plugins.call("garbage").error().kind == Kind::kSystem);
  CHECK(plugins.call("absent").error().kind == Kind::kNotFound);
}

TEST_CASE("call_delegate: large input and output do not wait for each other") {
  const Plugins plugins;
  plugins.write("flood", "head -c 1000000 /dev/zero | tr '\\0' x; cat >/dev/null");
  plugins.write("deaf", "echo done");
  const std::string keys = R"(, "large": ")" + std::string(900000, 'y') + "\"";
  CHECK(plugins.call("flood", keys).value().size() == 1000000);
  CHECK(plugins.call("deaf", keys).value() == "done\n");
}

TEST_CASE("call_delegate: endless output ends with the delegate") {
  const Plugins plugins;
  plugins.write("endless", "echo $$ >\"$(dirname \"$0\")/pid\"; exec cat /dev/zero");
  const Error error = plugins.call("endless").error();
  CHECK(error.kind == Kind::kDelegate);
  CHECK(error.message == "run 'endless': printed more than 1048576 bytes");
  const pid_t pid = std::stoi(read_file(plugins.path("pid")).value());
  CHECK(kill(pid, 0) == -1);  // killed and reaped
}

TEST_CASE("call_delegate: a grandchild that keeps stdout open is not waited for") {
  const Plugins plugins;
  plugins.write("daemon", "sleep 30 & echo $! >\"$(dirname \"$0\")/pid\"; echo result");
  const auto start = std::chrono::steady_clock::now();
  CHECK(plugins.call("daemon").value() == "result\n");
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  CHECK(kill(std::stoi(read_file(plugins.path("pid")).value()), SIGKILL) == 0);
}

TEST_CASE("call_delegate: a delegate has the usual SIGPIPE, and none of our descriptors") {
  const Plugins plugins;
  plugins.write("state", "grep SigIgn /proc/self/status; for file in /proc/$$/fd/*; do readlink $file; done; true");
  size_t inherited = 0;  // what this test got from its own caller, beside stdin and stdout
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry, error);
    if (entry.path().filename() != "0" && entry.path().filename() != "1") inherited += pipes_in(target);
  }
  const auto before = signal(SIGPIPE, SIG_IGN);
  const std::string output = plugins.call("state").value();
  (void)signal(SIGPIPE, before);
  const unsigned long ignored = std::stoul(output.substr(output.find(':') + 1), nullptr, 16);
  CHECK((ignored >> (SIGPIPE - 1) & 1U) == 0);
  CHECK(pipes_in(output) == inherited + 2);
}

TEST_CASE("call_delegate: no descriptor and no child is left") {
  const Plugins plugins;
  plugins.write("ok", "echo {}");
  plugins.write("fails", "exit 1");
  const size_t before = open_descriptors();
  for (int i = 0; i < 5; ++i) {
    CHECK(plugins.call("ok").has_value());
    CHECK(!plugins.call("fails").has_value());
    CHECK(!plugins.call("absent").has_value());
  }
  CHECK(open_descriptors() == before);
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
  CHECK(errno == ECHILD);
}

TEST_CASE("delegate_add: a result of any version, without one the configuration's") {
  const Plugins plugins;
  plugins.write("new", R"(echo '{"cniVersion":"1.0.0","ips":[{"address":"192.0.2.7/24"}]}')");
  plugins.write("old", R"(echo '{"cniVersion":"0.2.0","ip4":{"ip":"192.0.2.7/24"}}')");
  plugins.write("none", R"(echo '{"ips":[{"address":"192.0.2.7/24"}]}')");
  for (const char* type : {"new", "old", "none"}) {
    CAPTURE(type);
    CHECK(delegate_add(plugins.request(), type).value().ips.at(0).address.text() == "192.0.2.7/24");
  }
  plugins.write("bad", "echo no JSON");
  CHECK(delegate_add(plugins.request(), "bad").error().kind == Kind::kDecode);
  CHECK(delegate_add(plugins.request(), "bad").error().message.starts_with("read result of 'bad'"));
}

}  // namespace slicer::cni
