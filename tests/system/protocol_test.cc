// What every built plugin answers before it touches anything. Every call here fails early, or is VERSION, so no
// privileges are needed and nothing is changed.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN  // not the fixture's main(), which asks for privileges
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <sstream>

#include "tests/system/fixture/plugin.h"

namespace slicer::test {
namespace {

using Env = std::map<std::string, std::string>;

constexpr std::array kVersions = {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"};

// The reference plugin and all that CMake knows.
std::vector<std::string> plugins() {
  std::vector<std::string> files{bin_dir() + "/../tests/bin/protocol_plugin"};
  for (const std::string& name : words(SLICER_PLUGINS)) files.push_back(bin_dir() + "/" + name);
  return files;
}

Env environment_of(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "vm1"},
          {"CNI_NETNS", "/nonexistent/namespace"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/nonexistent/bin"}};
}

Env without(Env env, const std::string& name) {
  env.erase(name);
  return env;
}

Env with_variable(Env env, const std::string& name, const std::string& value) {
  env[name] = value;
  return env;
}

std::string configuration(const std::string& version) {
  return Json{{"cniVersion", version}, {"name", "net"}, {"type", "test"}}.dump();
}

// The one document on stdout; null when there is none, or more than it.
Json document(const Outcome& outcome) { return Json::parse(outcome.out, nullptr, false); }

// `code` 0: a success without a look at its output.
void expect(const Env& env, const std::string& in, int code, const std::string& word) {
  for (const std::string& plugin : plugins()) {
    const Outcome outcome = run({plugin}, {.in = in, .env = env});
    const Json error = document(outcome);
    const std::string beginning = in.substr(0, 200);
    CAPTURE(plugin);
    CAPTURE(beginning);
    CAPTURE(outcome.out);
    CAPTURE(outcome.err);
    CHECK(outcome.exit_code == 1);
    REQUIRE(error.is_object());
    CHECK(error.value("code", 0) == code);
    CHECK(error.value("msg", "").find(word) != std::string::npos);
    CHECK(error.value("cniVersion", "") != "");
  }
}

}  // namespace

TEST_CASE("protocol: VERSION names all versions, whatever else is set and whatever stands on stdin") {
  for (const std::string& plugin : plugins()) {
    for (const std::string in : {"", "{", "{\"cniVersion\": \"9.9.9\"}"}) {
      CAPTURE(plugin);
      const Outcome outcome = run({plugin}, {.in = in, .env = Env{{"CNI_COMMAND", "VERSION"}}});
      REQUIRE(outcome.ok());
      CHECK(document(outcome) == Json{{"cniVersion", "1.1.0"}, {"supportedVersions", kVersions}});
    }
  }
}

TEST_CASE("protocol: started by hand a plugin says what it is and succeeds") {
  for (const std::string& plugin : plugins()) {
    CAPTURE(plugin);
    const Outcome outcome = run({plugin}, {.env = Env{}});
    CHECK(outcome.ok());
    CHECK(outcome.out.empty());
    CHECK(outcome.err.find(plugin.substr(plugin.rfind('/') + 1)) != std::string::npos);
    CHECK(outcome.err.find("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0") != std::string::npos);
  }
}

TEST_CASE("protocol: missing variables are code 4 and all named") {
  const std::string in = configuration("1.1.0");
  for (const std::string command : {"ADD", "CHECK"})
    expect({{"CNI_COMMAND", command}}, in, 4, "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_PATH");
  expect({{"CNI_COMMAND", "DEL"}}, in, 4, "CNI_CONTAINERID, CNI_IFNAME, CNI_PATH");
  for (const std::string command : {"GC", "STATUS"}) expect({{"CNI_COMMAND", command}}, in, 4, ": CNI_PATH");
  for (const char* name : {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"})
    expect(without(environment_of("ADD"), name), in, 4, name);
}

TEST_CASE("protocol: impossible variables are code 4") {
  const std::string in = configuration("1.1.0");
  expect({{"CNI_COMMAND", "REMOVE"}}, in, 4, "'REMOVE'");
  for (const char* id : {"../../etc", "a b", "-x", "a/b"})
    expect(with_variable(environment_of("ADD"), "CNI_CONTAINERID", id), in, 4, id);
  for (const char* name : {"sixteen-letters-", "a/b", "a:b", "a b", ".", "tap%d"})
    expect(with_variable(environment_of("DEL"), "CNI_IFNAME", name), in, 4, "CNI_IFNAME");
  expect(with_variable(environment_of("ADD"), "CNI_ARGS", "novalue"), in, 4, "CNI_ARGS");
}

TEST_CASE("protocol: a configuration cut anywhere is code 6") {
  const std::string whole = configuration("1.0.0");
  for (size_t length = 0; length < whole.size(); length += 3)
    expect(environment_of("ADD"), whole.substr(0, length), 6, "JSON");
}

TEST_CASE("protocol: what is no configuration is code 6 for every verb") {
  for (const std::string command : {"ADD", "DEL", "CHECK", "GC", "STATUS"}) {
    for (const std::string& in :
         {std::string("[]"), std::string("null"), std::string("\"net\""), std::string("\xff\xfe"), std::string(4, '\0'),
          std::string(100000, '['), std::string("{\"a\":1e999}")})
      expect(environment_of(command), in, 6, "configuration");
  }
}

TEST_CASE("protocol: more than 1 MiB on stdin is code 5") {
  for (const std::string command : {"ADD", "DEL", "GC"}) {
    expect(environment_of(command), std::string((size_t{1} << 20) + 1, ' '), 5, "stdin");
    expect(environment_of(command), std::string(size_t{8} << 20, '{'), 5, "stdin");
  }
}

TEST_CASE("protocol: a bad network name is code 7") {
  for (const char* name : {"\"\"", "null", "5", "\"a/b\"", "\"..\"", "\"a b\"", "[]"})
    expect(environment_of("DEL"), R"({"cniVersion": "1.0.0", "name": )" + std::string(name) + "}", 7, "\"name\"");
}

TEST_CASE("protocol: a version that does not exist, or has no such verb, is code 1") {
  for (const std::string command : {"ADD", "DEL", "CHECK", "GC", "STATUS"})
    for (const char* version : {"0.0.9", "0.5.0", "1.2.0", "2.0.0", "1.0", "latest"})
      expect(environment_of(command), configuration(version), 1, version);
  for (const std::string version : kVersions) {
    if (version < "0.4.0") expect(environment_of("CHECK"), configuration(version), 1, "CHECK");
    if (version < "1.1.0") expect(environment_of("GC"), configuration(version), 1, "GC");
    if (version < "1.1.0") expect(environment_of("STATUS"), configuration(version), 1, "STATUS");
  }
}

TEST_CASE("protocol: a wrong prevResult is named, its version too") {
  const auto conf = [](const std::string& prev) {
    return R"({"cniVersion": "1.0.0", "name": "net", "prevResult": )" + prev + "}";
  };
  for (const char* prev : {"5", "[]", R"({"ips": 5})", R"({"cniVersion": "1.0.0", "ips": [{"address": "x"}]})",
                           R"({"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.1/24", "interface": 7}]})"})
    expect(environment_of("ADD"), conf(prev), 6, "\"prevResult\"");
  expect(environment_of("ADD"), conf(R"({"cniVersion": "7.0.0"})"), 1, "7.0.0");
}

TEST_CASE("protocol: a list of valid attachments that cannot be read stops GC") {
  for (const char* list : {"{}", "[1]", R"([{"containerID": "a"}])", R"([{"containerID": 1, "ifname": "b"}])"})
    for (const char* key : {"cni.dev/valid-attachments", "cni.dev/attachments"})
      expect(environment_of("GC"),
             R"({"cniVersion": "1.1.0", "name": "net", ")" + std::string(key) + "\": " + list + "}", 7, key);
}

TEST_CASE("protocol: closed and full streams end in failure, not in a hang or a crash") {
  for (const std::string& plugin : plugins()) {
    CAPTURE(plugin);
    // "in" and "out" of a child made by hand: closed, or /dev/full.
    const auto status_of = [&](bool close_in, const char* out) {
      const pid_t pid = fork();
      if (pid == 0) {
        if (out == nullptr) (void)close(STDOUT_FILENO);
        if (out != nullptr && dup2(open(out, O_WRONLY | O_CLOEXEC), STDOUT_FILENO) != STDOUT_FILENO) _exit(99);
        if (close_in) (void)close(STDIN_FILENO);
        std::string command = close_in ? "CNI_COMMAND=ADD" : "CNI_COMMAND=VERSION";
        std::string id = "CNI_CONTAINERID=a";
        std::string netns = "CNI_NETNS=/nonexistent";
        std::string ifname = "CNI_IFNAME=eth0";
        std::string path = "CNI_PATH=/nonexistent";
        std::array<char*, 6> envp{command.data(), id.data(), netns.data(), ifname.data(), path.data(), nullptr};
        std::string name = plugin;
        std::array<char*, 2> argv{name.data(), nullptr};
        (void)execve(plugin.c_str(), argv.data(), envp.data());
        _exit(98);
      }
      int status = -1;
      (void)waitpid(pid, &status, 0);
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    };
    CHECK(status_of(false, "/dev/full") == 1);
    CHECK(status_of(false, nullptr) == 1);
    CHECK(status_of(true, "/dev/null") == 1);
  }
}

}  // namespace slicer::test
