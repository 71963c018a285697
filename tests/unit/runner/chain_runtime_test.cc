// runner/chain/runtime against a plugin that records its calls; what libcni's api.go does is the measure.

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "lib/base/whole_file.h"
#include "runner/chain/runtime.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer;
using namespace slicer::chain;
using cni::Json;
using slicer::test::TempFolder;

namespace {

struct Recorded {
  std::string call = {};  ///< "first-ADD"
  Json environment = {};
  Json input = {};
};

/// A folder with plugins first, second and slicer-third, and what they were asked.
class Plugins {
 public:
  Plugins() {
    dir_.folder("bin");
    for (const char* name : {"first", "second", "slicer-third"})
      std::filesystem::copy_file(RECORDING_PLUGIN, dir_.file("bin/") + name);
    (void)setenv("RECORDING_DIR", dir_.path().c_str(), 1);
    (void)setenv("CNI_COMMAND", "inherited, must be replaced", 1);
  }

  void answer(const std::string& call, const std::string& code, const std::string& output) const {
    dir_.write(call + ".answer", code + "\n" + output);
  }
  [[nodiscard]] Runtime runtime(Trace trace = {}) const {
    return Runtime(
        {.path = {"/nonexistent", dir_.file("bin")}, .cache_dir = dir_.file("cache"), .trace = std::move(trace)});
  }
  /// What was called since the last question.
  [[nodiscard]] std::vector<Recorded> calls() {
    std::vector<Recorded> found;
    for (int number = seen_ + 1;; ++number) {
      const std::string prefix = std::to_string(number) + "-";
      const auto files = std::filesystem::directory_iterator(dir_.path());
      const auto file = std::ranges::find_if(
          files, [&](const auto& entry) { return entry.path().filename().string().starts_with(prefix); });
      if (file == std::filesystem::directory_iterator()) return found;
      const std::string name = file->path().stem().string();
      const Json json = Json::parse(read_file(file->path()).value());
      found.push_back({.call = name.substr(prefix.size()),
                       .environment = json["environment"],
                       .input = Json::parse(json["input"].get<std::string>())});
      seen_ = number;
    }
  }
  /// "first-ADD second-ADD"
  [[nodiscard]] std::string order() {
    std::string text;
    for (const Recorded& call : calls()) text += (text.empty() ? "" : " ") + call.call;
    return text;
  }
  [[nodiscard]] const TempFolder& dir() const { return dir_; }

 private:
  TempFolder dir_;
  int seen_ = 0;
};

Conflist network(const std::string& keys = R"("cniVersion": "1.0.0")",
                 const std::string& plugins = R"({"type": "first"}, {"type": "second"})") {
  const Result<Conflist> parsed =
      parse_conflist(R"({"name": "net", )" + keys + R"(, "plugins": [)" + plugins + "]}", "f");
  REQUIRE(parsed);
  return *parsed;
}

AttachmentConf attachment() {
  return {.container_id = "vm-1",
          .netns = "/var/run/netns/x",
          .ifname = "tap0",
          .args = {{"IgnoreUnknown", "1"}, {"A", "b"}}};
}

constexpr const char* kResult = R"({"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.7/24"}], "strange": 1})";

std::string error_of(const auto& result) { return result ? "no error" : result.error().message; }

}  // namespace

TEST_CASE("add: calls in order, each with the result before it, and caches the last") {
  Plugins plugins;
  plugins.answer("first.ADD", "0", kResult);
  plugins.answer("second.ADD", "0", R"({"ips": [{"address": "192.0.2.8/24"}], "dns": {"nameservers": ["192.0.2.1"]}})");
  const Runtime runtime = plugins.runtime();
  const auto result = runtime.add(network(), attachment());
  REQUIRE_MESSAGE(result, error_of(result));
  CHECK(result->ips.at(0).address.text() == "192.0.2.8/24");

  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].call == "first-ADD");
  CHECK(calls[0].input == Json::parse(R"({"cniVersion": "1.0.0", "name": "net", "type": "first"})"));
  CHECK(calls[1].call == "second-ADD");
  CHECK(calls[1].input["prevResult"]["cniVersion"] == "1.0.0");
  CHECK(calls[1].input["prevResult"]["ips"][0]["address"] == "192.0.2.7/24");
  CHECK(calls[1].input["prevResult"].contains("strange") == false);

  const auto cached = runtime.cache().load({.network = "net", .container_id = "vm-1", .ifname = "tap0"});
  REQUIRE(cached);
  REQUIRE(*cached);
  CHECK((*cached)->config == network().bytes);
  CHECK((*cached)->netns == "/var/run/netns/x");
  CHECK((*cached)->args == attachment().args);
  // An answer without a version has the configuration's (cni#895).
  CHECK((*cached)->result["cniVersion"] == "1.0.0");
  CHECK((*cached)->result["ips"][0]["address"] == "192.0.2.8/24");
}

TEST_CASE("add: the environment is the caller's with the variables of the call") {
  Plugins plugins;
  (void)setenv("INHERITED", "yes", 1);
  REQUIRE(plugins.runtime().add(network(), attachment()));
  const Json environment = plugins.calls().at(0).environment;
  CHECK(environment["CNI_COMMAND"] == "ADD");
  CHECK(environment["CNI_CONTAINERID"] == "vm-1");
  CHECK(environment["CNI_NETNS"] == "/var/run/netns/x");
  CHECK(environment["CNI_IFNAME"] == "tap0");
  CHECK(environment["CNI_ARGS"] == "IgnoreUnknown=1;A=b");
  CHECK(environment["CNI_PATH"] == "/nonexistent:" + plugins.dir().file("bin"));
  CHECK(environment["INHERITED"] == "yes");
  CHECK_FALSE(environment.contains("CNI_NETNS_OVERRIDE"));
}

TEST_CASE("add: foreign plugins are told that the host's namespace is meant, ours are not") {
  Plugins plugins;
  AttachmentConf host = attachment();
  host.netns = "/proc/self/ns/net";
  const Conflist chain = network(R"("cniVersion": "1.0.0")", R"({"type": "first"}, {"type": "slicer-third"})");
  REQUIRE(plugins.runtime().add(chain, host));
  REQUIRE(plugins.runtime().del(chain, host));
  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 4);
  for (const Recorded& call : calls) {
    CAPTURE(call.call);
    if (call.call.starts_with("first")) CHECK(call.environment["CNI_NETNS_OVERRIDE"] == "1");
    if (call.call.starts_with("slicer-third")) CHECK_FALSE(call.environment.contains("CNI_NETNS_OVERRIDE"));
  }
}

TEST_CASE("add: runtimeConfig holds the capabilities that are declared true and supplied") {
  Plugins plugins;
  AttachmentConf conf = attachment();
  conf.capability_args = {{"ips", {"192.0.2.7/24"}}, {"mac", "02:00:5e:00:53:01"}, {"portMappings", Json::array()}};
  const Conflist chain = network(R"("cniVersion": "1.0.0")",
                                 R"({"type": "first", "capabilities": {"ips": true, "mac": false, "dns": true}},
         {"type": "second", "runtimeConfig": {"old": 1}},
         {"type": "second", "runtimeConfig": {"old": 1}, "capabilities": {"mac": true}})");
  REQUIRE(plugins.runtime().add(chain, conf));
  REQUIRE(plugins.runtime().check(chain, conf));
  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 6);
  for (const size_t at : {0, 3}) {  // ADD, then CHECK
    CAPTURE(calls[at].call);
    CHECK(calls[at].input["runtimeConfig"] == Json::parse(R"({"ips": ["192.0.2.7/24"]})"));
    CHECK_FALSE(calls[at].input.contains("capabilities"));  // SPEC.md; libcni leaves it in
    CHECK(calls[at + 1].input["runtimeConfig"] == Json::parse(R"({"old": 1})"));
    CHECK(calls[at + 2].input["runtimeConfig"] == Json::parse(R"({"mac": "02:00:5e:00:53:01"})"));
  }
}

TEST_CASE("add: a failing plugin ends the chain with its own words and code, and nothing is undone or cached") {
  Plugins plugins;
  plugins.answer("first.ADD", "1",
                 R"({"cniVersion": "1.0.0", "code": 104, "msg": "pool is full", "details": "make room"})");
  const Runtime runtime = plugins.runtime();
  const auto result = runtime.add(network(), attachment());
  REQUIRE_FALSE(result);
  CHECK(result.error().message == "ADD on network 'net': run 'first': pool is full");
  CHECK(result.error().hint == "make room");
  CHECK(result.error().kind == Kind::kDelegate);
  CHECK(result.error().code == 104);
  CHECK(plugins.order() == "first-ADD");
  CHECK(runtime.cache().list()->empty());
}

TEST_CASE("add: names the plugin that is absent, dies, prints garbage or a wrong result") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  auto result = runtime.add(network(R"("cniVersion": "1.0.0")", R"({"type": "absent"})"), attachment());
  CHECK(error_of(result) == "ADD on network 'net': find plugin 'absent' in '/nonexistent:" + plugins.dir().file("bin") +
                                "': no such executable file");
  result = runtime.add(network(R"("cniVersion": "1.0.0")", R"({"type": "../bin/first"})"), attachment());
  CHECK(error_of(result).find("'../bin/first'") != std::string::npos);
  plugins.answer("first.ADD", "signal", "");
  CHECK(error_of(runtime.add(network(), attachment())) ==
        "ADD on network 'net': run 'first': ended by signal 9 (SIGKILL)");
  plugins.answer("first.ADD", "3", "oh no");
  CHECK(error_of(runtime.add(network(), attachment())).find("'oh no'") != std::string::npos);
  for (const char* output : {"garbage", "[]", R"({"ips": 3})", R"({"cniVersion": "9.9.9"})", ""}) {
    CAPTURE(output);
    plugins.answer("first.ADD", "0", output);
    CHECK(error_of(runtime.add(network(), attachment())).starts_with("ADD on network 'net': read result of 'first': "));
  }
}

TEST_CASE("add: a bad identity or version is refused before any plugin runs") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  AttachmentConf conf = attachment();
  conf.container_id = "a/b";
  CHECK_FALSE(runtime.add(network(), conf));
  conf = attachment();
  conf.ifname = "sixteen-letters-";
  CHECK_FALSE(runtime.add(network(), conf));
  conf = attachment();
  conf.netns = "";
  CHECK_FALSE(runtime.add(network(), conf));
  Conflist bad = network();
  bad.name = "a b";
  CHECK_FALSE(runtime.add(bad, attachment()));
  const auto result = runtime.add(network(R"("cniVersion": "9.0.0")"), attachment());
  REQUIRE_FALSE(result);
  CHECK(result.error().kind == Kind::kUnsupportedVersion);
  CHECK(result.error().message == "network 'net' in 'f': \"cniVersion\": 9.0.0 is not spoken here");
  bad = network();
  bad.plugins.clear();
  CHECK_FALSE(runtime.add(bad, attachment()));
  CHECK(plugins.order().empty());
}

TEST_CASE("del: reverse order, with the cached result in the network's version, and forgets it at the end") {
  Plugins plugins;
  plugins.answer("second.ADD", "0", kResult);
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.add(network(), attachment()));
  (void)plugins.calls();
  // Changed while the VM ran.
  const Conflist older = network(R"("cniVersion": "0.4.0")");
  REQUIRE(runtime.del(older, attachment()));
  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].call == "second-DEL");
  CHECK(calls[1].call == "first-DEL");
  for (const Recorded& call : calls) {
    CHECK(call.input["cniVersion"] == "0.4.0");
    CHECK(call.input["prevResult"]["cniVersion"] == "0.4.0");
    CHECK(call.input["prevResult"]["ips"][0]["version"] == "4");
  }
  CHECK(runtime.cache().list()->empty());
}

TEST_CASE("del: works twice, without cache, without namespace; before 0.4.0 without the result") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  AttachmentConf gone = attachment();
  gone.netns = "";
  for (int i = 0; i < 2; ++i) {
    REQUIRE(runtime.del(network(), gone));
    for (const Recorded& call : plugins.calls()) {
      CHECK_FALSE(call.input.contains("prevResult"));
      CHECK(call.environment["CNI_NETNS"] == "");
    }
  }
  plugins.answer("second.ADD", "0", kResult);
  REQUIRE(runtime.add(network(), attachment()));
  (void)plugins.calls();
  REQUIRE(runtime.del(network(R"("cniVersion": "0.3.1")"), attachment()));
  for (const Recorded& call : plugins.calls()) CHECK_FALSE(call.input.contains("prevResult"));
}

TEST_CASE("del: an unreadable cache entry is dropped and the DEL goes on") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  plugins.dir().folder("cache/results");
  plugins.dir().write("cache/results/net-vm-1-tap0", "{\"kind\": \"cniCacheV1\", \"conf");
  plugins.answer("first.DEL", "1", R"({"code": 11, "msg": "later"})");
  const auto result = runtime.del(network(), attachment());
  CHECK(error_of(result) == "DEL on network 'net': run 'first': later");
  CHECK(plugins.order() == "second-DEL first-DEL");
  CHECK_FALSE(std::filesystem::exists(plugins.dir().file("cache/results/net-vm-1-tap0")));
}

TEST_CASE("del: stops at the first error and keeps the result for the next attempt") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.add(network(), attachment()));
  (void)plugins.calls();
  plugins.answer("second.DEL", "1", R"({"code": 11, "msg": "later"})");
  const auto result = runtime.del(network(), attachment());
  REQUIRE_FALSE(result);
  CHECK(result.error().code == 11);
  CHECK(plugins.order() == "second-DEL");
  CHECK(runtime.cache().list()->size() == 1);
  plugins.answer("second.DEL", "0", "");
  REQUIRE(runtime.del(network(), attachment()));
  CHECK(plugins.order() == "second-DEL first-DEL");
  CHECK(runtime.cache().list()->empty());
}

TEST_CASE("check: in order with the cached result; not before 0.4.0, not when disabled") {
  Plugins plugins;
  plugins.answer("second.ADD", "0", kResult);
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.add(network(), attachment()));
  (void)plugins.calls();
  REQUIRE(runtime.check(network(), attachment()));
  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 2);
  CHECK(calls[0].call == "first-CHECK");
  CHECK(calls[0].input["prevResult"]["ips"][0]["address"] == "192.0.2.7/24");
  CHECK(runtime.check(network(R"("cniVersion": "1.0.0", "disableCheck": true)"), attachment()));
  const auto old = runtime.check(network(R"("cniVersion": "0.3.1")"), attachment());
  REQUIRE_FALSE(old);
  CHECK(old.error().kind == Kind::kUnsupportedVersion);
  CHECK(plugins.order().empty());
  plugins.answer("first.CHECK", "1", R"({"code": 105, "msg": "address is gone"})");
  CHECK(error_of(runtime.check(network(), attachment())) == "CHECK on network 'net': run 'first': address is gone");
  CHECK(plugins.order() == "first-CHECK");
}

TEST_CASE("check: what was never added, or is deleted, is asked of no plugin") {
  Plugins plugins;
  plugins.answer("second.ADD", "0", kResult);
  const Runtime runtime = plugins.runtime();
  CHECK(runtime.check(network(), attachment()).error().kind == Kind::kNotFound);
  REQUIRE(runtime.add(network(), attachment()));
  REQUIRE(runtime.del(network(), attachment()));
  (void)plugins.calls();
  const auto gone = runtime.check(network(), attachment());
  REQUIRE_FALSE(gone);
  CHECK(gone.error().message == "check 'vm-1' on network 'net': the result of its ADD is not in the cache");
  CHECK(plugins.order().empty());
}

TEST_CASE("gc: DEL for what is not listed, then the verb; goes on after errors") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  const Conflist newest = network(R"("cniVersion": "1.1.0")");
  AttachmentConf other = attachment();
  for (const char* id : {"vm-1", "vm-2", "vm-3"}) {
    other.container_id = id;
    REQUIRE(runtime.add(newest, other));
  }
  Conflist neighbour = newest;
  neighbour.name = "neighbour";
  REQUIRE(runtime.add(neighbour, attachment()));
  (void)plugins.calls();
  plugins.answer("first.GC", "1", R"({"code": 999, "msg": "one"})");
  plugins.answer("second.GC", "1", R"({"code": 998, "msg": "two"})");
  const std::vector<cni::ValidAttachment> valid = {{.container_id = "vm-2", .ifname = "tap0"}};
  const auto result = runtime.gc(newest, valid);
  CHECK(error_of(result) == "GC on network 'net': run 'first': one; GC on network 'net': run 'second': two");
  const auto calls = plugins.calls();
  REQUIRE(calls.size() == 6);
  CHECK(calls[0].call == "second-DEL");
  CHECK(calls[0].environment["CNI_CONTAINERID"] == "vm-1");
  CHECK(calls[0].environment["CNI_ARGS"] == "IgnoreUnknown=1;A=b");
  CHECK(calls[2].environment["CNI_CONTAINERID"] == "vm-3");
  CHECK(calls[4].call == "first-GC");
  CHECK(calls[5].call == "second-GC");
  const Json expected = Json::parse(R"([{"containerID": "vm-2", "ifname": "tap0"}])");
  CHECK(calls[4].input["cni.dev/valid-attachments"] == expected);
  CHECK(calls[4].input["cni.dev/attachments"] == expected);
  CHECK(calls[4].environment["CNI_CONTAINERID"] == "");
  CHECK(runtime.cache().list()->size() == 2);
}

TEST_CASE("gc: nothing when the network says disableGC; before 1.1.0 only the DELs") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.add(network(), attachment()));
  (void)plugins.calls();
  REQUIRE(runtime.gc(network(R"("cniVersion": "1.1.0", "disableGC": "true")"), {}));
  CHECK(plugins.order().empty());
  REQUIRE(runtime.gc(network(), {}));
  CHECK(plugins.order() == "second-DEL first-DEL");
}

TEST_CASE("status: stops at the first error with its code; nothing below 1.1.0") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.status(network()));
  CHECK(plugins.order().empty());
  plugins.answer("first.STATUS", "1", R"({"code": 50, "msg": "not ready"})");
  const auto result = runtime.status(network(R"("cniVersion": "1.1.0")"));
  REQUIRE_FALSE(result);
  CHECK(result.error().code == 50);
  CHECK(plugins.order() == "first-STATUS");
}

TEST_CASE("versions: what VERSION says, with the old answers") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  plugins.answer("first.VERSION", "0", R"({"cniVersion": "1.1.0", "supportedVersions": ["0.4.0", "1.0.0"]})");
  auto versions = runtime.versions("first");
  REQUIRE_MESSAGE(versions, error_of(versions));
  CHECK(*versions == std::vector<std::string>{"0.4.0", "1.0.0"});
  const auto call = plugins.calls().at(0);
  CHECK(call.environment["CNI_NETNS"] == "dummy");
  CHECK(call.input["cniVersion"] == "1.1.0");
  plugins.answer("first.VERSION", "0", R"({"cniVersion": "0.2.0"})");
  CHECK(*runtime.versions("first") == std::vector<std::string>{"0.1.0", "0.2.0"});
  plugins.answer("first.VERSION", "1", R"({"code": 4, "msg": "unknown CNI_COMMAND: VERSION"})");
  CHECK(*runtime.versions("first") == std::vector<std::string>{"0.1.0"});
  plugins.answer("first.VERSION", "0", R"({"cniVersion": "1.0.0"})");
  CHECK(error_of(runtime.versions("first")) == "VERSION: read answer of 'first': no \"supportedVersions\"");
}

TEST_CASE("trace: every call with what went in and came out") {
  Plugins plugins;
  std::vector<PluginCall> seen;
  plugins.answer("second.ADD", "1", R"({"code": 999, "msg": "no"})");
  const Runtime runtime = plugins.runtime([&](const PluginCall& call) { seen.push_back(call); });
  REQUIRE_FALSE(runtime.add(network(), attachment()));
  REQUIRE(seen.size() == 2);
  CHECK(seen[0].plugin == "first");
  CHECK(seen[0].path == plugins.dir().file("bin/first"));
  CHECK(seen[0].command == cni::Command::kAdd);
  CHECK(seen[0].output == "{}");
  CHECK(seen[0].exit_code == 0);
  CHECK(seen[0].duration.count() > 0);
  CHECK(Json::parse(seen[1].input)["type"] == "second");
  CHECK(seen[1].exit_code == 1);
}

TEST_CASE("a call past its limit is killed and named") {
  Plugins plugins;
  plugins.answer("first.VERSION", "hang", "");
  const Runtime runtime({.path = {plugins.dir().file("bin")},
                         .cache_dir = plugins.dir().file("cache"),
                         .limit = std::chrono::milliseconds(50)});
  const auto versions = runtime.versions("first");
  REQUIRE_FALSE(versions);
  CHECK(versions.error().kind == Kind::kBusy);
  CHECK(versions.error().message == "VERSION: run 'first': did not end within 50 ms and was killed");
}

TEST_CASE("network_of: a cached attachment brings the network as it was") {
  Plugins plugins;
  const Runtime runtime = plugins.runtime();
  REQUIRE(runtime.add(network(), attachment()));
  const auto entries = runtime.cache().list();
  REQUIRE(entries);
  REQUIRE(entries->size() == 1);
  plugins.dir().folder("conf/net");
  plugins.dir().write("conf/net/10.conf", R"({"type": "slicer-third"})");
  const auto was = network_of(entries->front(), plugins.dir().file("conf"));
  REQUIRE(was);
  (void)plugins.calls();
  REQUIRE(runtime.del(*was, attachment_of(entries->front())));
  CHECK(plugins.order() == "slicer-third-DEL second-DEL first-DEL");
}
