#include "lib/cni/plugin_main.h"

#include <doctest/doctest.h>
#include <fcntl.h>

#include <array>
#include <stdexcept>

#include "lib/cni/result_versions.h"
#include "tests/unit/cni/fake_process.h"

namespace slicer::cni {
namespace {

using testing::FakeProcess;

Result<void> nothing(const Request&) { return {}; }
Result<CniResult> one_address(const Request& request) {
  return CniResult{.interfaces = {{.name = request.env.ifname, .sandbox = request.env.netns}},
                   .ips = {{.address = addr::parse_cidr("192.0.2.7/24").value(), .interface = 0}}};
}
constexpr Plugin kPlugin{.name = "slicer-test",
                         .about = "a test",
                         .add = one_address,
                         .del = nothing,
                         .check = nothing,
                         .gc = nothing,
                         .status = nothing};

std::map<std::string, std::string> environment_of(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "vm1"},
          {"CNI_NETNS", "/proc/self/ns/net"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/opt/cni/bin"}};
}

std::string configuration(std::string_view version) {
  return dump_json({{"cniVersion", version}, {"name", "net"}, {"type", "slicer-test"}});
}

}  // namespace

TEST_CASE("plugin_main: ADD prints the result in the configuration's version") {
  for (const std::string_view version : supported_versions()) {
    CAPTURE(version);
    FakeProcess process{.env = environment_of("ADD"), .in = configuration(version)};
    REQUIRE(process.run(kPlugin) == 0);
    CHECK(process.json().at("cniVersion") == version);
    CHECK(process.json().contains("ips") == version_at_least(version, "0.3.0"));
    CHECK(process.out.back() == '\n');
  }
}

TEST_CASE("plugin_main: all missing variables are named at once") {
  FakeProcess process{.env = {{"CNI_COMMAND", "ADD"}, {"CNI_PATH", "/opt/cni/bin"}}, .in = configuration("1.0.0")};
  CHECK(process.run(kPlugin) == 1);
  CHECK(process.json().at("code") == 4);
  CHECK(process.json().at("msg") == "missing environment: CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME");
  CHECK(process.json().at("cniVersion") == "1.1.0");
}

TEST_CASE("plugin_main: VERSION lists every version and needs nothing") {
  FakeProcess process{.env = {{"CNI_COMMAND", "VERSION"}}};
  REQUIRE(process.run(kPlugin) == 0);
  CHECK(process.json().at("cniVersion") == "1.1.0");
  CHECK(process.json().at("supportedVersions") ==
        Json({"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}));
}

TEST_CASE("plugin_main: VERSION answers in the caller's version, or in the newest when that is none of ours") {
  const std::map<std::string, std::string> answers = {{R"({"cniVersion": "0.4.0"})", "0.4.0"},
                                                      {R"({"cniVersion": "2.0.0"})", "1.1.0"},
                                                      {R"({"cniVersion": 5})", "1.1.0"},
                                                      {"{}", "1.1.0"},
                                                      {"[", "1.1.0"}};
  for (const auto& [in, version] : answers) {
    CAPTURE(in);
    FakeProcess process{.env = {{"CNI_COMMAND", "VERSION"}}, .in = in};
    REQUIRE(process.run(kPlugin) == 0);
    CHECK(process.json().at("cniVersion") == version);
  }
}

TEST_CASE("plugin_main: every verb of every version, where the specification has it") {
  const std::map<std::string, std::string> first = {
      {"ADD", "0.1.0"}, {"DEL", "0.1.0"}, {"CHECK", "0.4.0"}, {"GC", "1.1.0"}, {"STATUS", "1.1.0"}};
  for (const auto& [command, minimum] : first) {
    for (const std::string_view version : supported_versions()) {
      CAPTURE(command);
      CAPTURE(version);
      FakeProcess process{.env = environment_of(command), .in = configuration(version)};
      const int code = process.run(kPlugin);
      if (version_at_least(version, minimum)) {
        CHECK(code == 0);
        CHECK(process.out.empty() == (command != "ADD"));
      } else {
        CHECK(code == 1);
        CHECK(process.json().at("code") == 1);
        CHECK(process.json().at("cniVersion") == version);
        CHECK(process.json().at("msg").get<std::string>().find(command) != std::string::npos);
      }
    }
  }
}

TEST_CASE("plugin_main: each verb calls its own handler") {
  static std::string called;
  called.clear();
  const Plugin plugin{.name = "p",
                      .about = "a",
                      .add = [](const Request&) -> Result<CniResult> { return called += "add ", CniResult{}; },
                      .del = [](const Request&) -> Result<void> { return called += "del ", Result<void>(); },
                      .check = [](const Request&) -> Result<void> { return called += "check ", Result<void>(); },
                      .gc = [](const Request&) -> Result<void> { return called += "gc ", Result<void>(); },
                      .status = [](const Request&) -> Result<void> { return called += "status", Result<void>(); }};
  for (const char* command : {"ADD", "DEL", "CHECK", "GC", "STATUS"}) {
    FakeProcess process{.env = environment_of(command), .in = configuration("1.1.0")};
    CHECK(process.run(plugin) == 0);
  }
  CHECK(called == "add del check gc status");
}

TEST_CASE("plugin_main: started by hand it says what it is") {
  for (const char* command : {"", "unset"}) {
    FakeProcess process;
    if (*command == 0) process.env["CNI_COMMAND"] = "";
    CHECK(process.run(kPlugin) == 0);
    CHECK(process.out.empty());
    CHECK(process.err.find("slicer-test") != std::string::npos);
    CHECK(process.err.find("a test") != std::string::npos);
    CHECK(process.err.find("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0") != std::string::npos);
  }
}

TEST_CASE("plugin_main: errors in the order environment, input, JSON, name, version, namespace") {
  const struct {
    std::map<std::string, std::string> change;
    std::string in;
    int code;
    const char* version;
  } cases[] = {
      {{{"CNI_COMMAND", "ADDD"}}, "{", 4, "1.1.0"},
      {{{"CNI_IFNAME", "a/b"}}, "{", 4, "1.1.0"},
      {{{"CNI_CONTAINERID", "../x"}}, "{", 4, "1.1.0"},
      {{{"CNI_ARGS", "x"}}, "{", 4, "1.1.0"},
      {{}, std::string((size_t{1} << 20) + 1, ' '), 5, "1.1.0"},
      {{}, "", 6, "1.1.0"},
      {{}, "{", 6, "1.1.0"},
      {{}, "[]", 6, "1.1.0"},
      {{}, R"({"cniVersion": "0.4.0"})", 7, "0.4.0"},
      {{}, R"({"cniVersion": "0.4.0", "name": "a/b"})", 7, "0.4.0"},
      {{}, R"({"cniVersion": 4, "name": "n"})", 7, "1.1.0"},
      {{}, R"({"cniVersion": "9.9.9", "name": "n"})", 1, "1.1.0"},
      {{}, R"({"cniVersion": "1.0.0", "name": "n", "prevResult": 5})", 6, "1.0.0"},
      {{}, R"({"cniVersion": "1.0.0", "name": "n", "prevResult": {"cniVersion": "9"}})", 1, "1.0.0"},
      {{{"CNI_NETNS", "/nonexistent/ns"}}, configuration("0.3.1"), 4, "0.3.1"},
  };
  for (const auto& test : cases) {
    const std::string beginning = test.in.substr(0, 100);
    CAPTURE(beginning);
    FakeProcess process{.env = environment_of("ADD"), .in = test.in};
    for (const auto& [name, value] : test.change) process.env[name] = value;
    CHECK(process.run(kPlugin) == 1);
    REQUIRE(process.json().is_object());
    CHECK(process.json().at("code") == test.code);
    CHECK(process.json().at("cniVersion") == test.version);
    CHECK(process.json().at("msg").get<std::string>().size() > 5);
  }
}

TEST_CASE("plugin_main: a configuration of exactly 1 MiB is read") {
  std::string in = configuration("1.0.0");
  in.resize(size_t{1} << 20, ' ');
  FakeProcess process{.env = environment_of("ADD"), .in = in};
  CHECK(process.run(kPlugin) == 0);
}

TEST_CASE("plugin_main: a missing namespace stops ADD and CHECK before any work, not DEL") {
  static int calls;
  Plugin plugin = kPlugin;
  plugin.add = [](const Request& request) { return ++calls, one_address(request); };
  plugin.check = [](const Request&) -> Result<void> { return ++calls, Result<void>(); };
  plugin.del = [](const Request& request) -> Result<void> {
    if (request.netns_present || request.host_netns) return fail(Kind::kInternal, "there is no namespace");
    return {};
  };
  const UniqueFd plain = testing::memory_file("");
  const std::string paths[] = {"/nonexistent/ns", "/etc/passwd/x",     "/",
                               "/dev/null",       "/proc/self/ns/mnt", "/proc/self/fd/" + std::to_string(plain.get())};
  for (const std::string& path : paths) {
    CAPTURE(path);
    for (const char* command : {"ADD", "CHECK"}) {
      calls = 0;
      FakeProcess process{.env = environment_of(command), .in = configuration("1.0.0")};
      process.env["CNI_NETNS"] = path;
      CHECK(process.run(plugin) == 1);
      CHECK(process.json().at("code") == 4);
      CHECK(process.json().at("msg").get<std::string>().starts_with("CNI_NETNS: '" + path + "' "));
      CHECK(calls == 0);
      // An IPAM passes the path on and does not look at it.
      plugin.needs_netns = false;
      CHECK(process.run(plugin) == 0);
      plugin.needs_netns = true;
    }
    FakeProcess process{.env = environment_of("DEL"), .in = configuration("1.0.0")};
    process.env["CNI_NETNS"] = path;
    CHECK(process.run(plugin) == 0);
    process.env.erase("CNI_NETNS");
    CHECK(process.run(plugin) == 0);
  }
}

TEST_CASE("plugin_main: the host's namespace only where the plugin takes it, or is told to") {
  Plugin plugin = kPlugin;
  plugin.del = [](const Request& request) -> Result<void> {
    if (!request.host_netns || !request.netns_present) return fail(Kind::kInternal, "it is the host's");
    return {};
  };
  for (const char* command : {"ADD", "CHECK"}) {
    CAPTURE(command);
    FakeProcess process{.env = environment_of(command), .in = configuration("1.0.0")};
    plugin.accepts_host_netns = nullptr;
    CHECK(process.run(plugin) == 0);
    plugin.accepts_host_netns = [](const Request& request) { return request.host_netns; };
    CHECK(process.run(plugin) == 0);
    plugin.accepts_host_netns = [](const Request&) { return false; };
    CHECK(process.run(plugin) == 1);
    CHECK(process.json().at("code") == 8);
    process.env["CNI_NETNS_OVERRIDE"] = "TRUE";
    CHECK(process.run(plugin) == 0);
  }
  FakeProcess process{.env = environment_of("DEL"), .in = configuration("1.0.0")};
  CHECK(process.run(plugin) == 0);
}

TEST_CASE("plugin_main: a handler's error is the error object, once") {
  Plugin plugin = kPlugin;
  plugin.add = [](const Request&) -> Result<CniResult> { return fail(Kind::kExhausted, "no address", "enlarge it"); };
  FakeProcess process{.env = environment_of("ADD"), .in = configuration("0.4.0")};
  CHECK(process.run(plugin) == 1);
  CHECK(process.json() ==
        Json{{"cniVersion", "0.4.0"}, {"code", 104}, {"msg", "no address"}, {"details", "enlarge it"}});
}

TEST_CASE("plugin_main: an exception becomes code 999") {
  Plugin plugin = kPlugin;
  FakeProcess process{.env = environment_of("ADD"), .in = configuration("0.4.0")};
  plugin.add = [](const Request&) -> Result<CniResult> { throw std::runtime_error("oh"); };
  CHECK(process.run(plugin) == 1);
  CHECK(process.json().at("code") == 999);
  CHECK(process.json().at("msg") == "unexpected failure: oh");
  CHECK(process.json().at("cniVersion") == "0.4.0");
  plugin.add = [](const Request&) -> Result<CniResult> { throw 5; };
  CHECK(process.run(plugin) == 1);
  CHECK(process.json().at("code") == 999);
}

TEST_CASE("plugin_main: an ADD whose result cannot be written is taken back") {
  static int deleted;
  deleted = 0;
  Plugin plugin = kPlugin;
  plugin.del = [](const Request& request) -> Result<void> {
    if (request.env.container_id == "vm1") ++deleted;
    return {};
  };
  const FakeProcess call{.env = environment_of("ADD")};
  const UniqueFd full(open("/dev/full", O_WRONLY | O_CLOEXEC));
  const auto run = [&](int out) {
    const UniqueFd in = testing::memory_file(configuration("1.0.0"));
    return plugin_main({.getenv = [&call](const char* name) -> std::optional<std::string> {
                          const auto found = call.env.find(name);
                          return found == call.env.end() ? std::nullopt : std::optional(found->second);
                        },
                        .in = in.get(),
                        .out = out},
                       plugin);
  };
  REQUIRE(full.valid());
  CHECK(run(full.get()) == 1);
  CHECK(deleted == 1);
  std::array<int, 2> ends{};
  REQUIRE(pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd writer(ends[1]);
  UniqueFd(ends[0]).reset();  // the runtime is gone
  CHECK(run(writer.get()) == 1);
  CHECK(deleted == 2);
}

TEST_CASE("plugin_main: unreadable stdin is an I/O failure") {
  const FakeProcess call{.env = environment_of("ADD")};
  const UniqueFd out = testing::memory_file("");
  CHECK(plugin_main({.getenv = [&call](const char* name) -> std::optional<std::string> {
                       const auto found = call.env.find(name);
                       return found == call.env.end() ? std::nullopt : std::optional(found->second);
                     },
                     .in = -1,
                     .out = out.get()},
                    kPlugin) == 1);
  CHECK(parse_json(testing::content_of(out)).value().at("code") == 5);
}

TEST_CASE("plugin_main: a wrong type of every known key is code 7 or 6 with the key, in every version") {
  const char* const wrong[] = {"5", "-1e300", "true", "\"\"", "\"x\"", "[]", "[[]]", "{}", "{\"a\": null}", "null"};
  const char* const keys[] = {
      "cniVersion",          "name",          "type", "ipam",         "prevResult", "cni.dev/valid-attachments",
      "cni.dev/attachments", "runtimeConfig", "args", "capabilities", "dns"};
  for (const char* key : keys) {
    for (const char* value : wrong) {
      for (const char* command : {"ADD", "DEL", "CHECK", "GC", "STATUS"}) {
        CAPTURE(key);
        CAPTURE(value);
        Json json = parse_json(configuration("1.1.0")).value();
        json[key] = parse_json(value).value();
        FakeProcess process{.env = environment_of(command), .in = dump_json(json)};
        if (process.run(kPlugin) == 0) continue;
        REQUIRE(process.json().is_object());
        const int code = process.json().at("code");
        CHECK((code == 1 || code == 6 || code == 7));
        CHECK(process.json().at("msg").get<std::string>().find(key) != std::string::npos);
      }
    }
  }
}

}  // namespace slicer::cni
