// runner/chain/conflist: what libcni's LoadNetworkConf does, file by file (cni@3f51e88, libcni/conf.go).

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "runner/chain/conflist.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer;
using namespace slicer::chain;
using slicer::test::TempFolder;

namespace {

std::string list(const std::string& keys) {
  return R"({"name": "a", "cniVersion": "1.0.0", "plugins": [{"type": "x"}])" + (keys.empty() ? "" : ", " + keys) + "}";
}

/// Names of the plugins of network `name`, or the error's message.
std::string types(const std::string& dir, const std::string& name) {
  const Result<Conflist> network = load_network(dir, name);
  if (!network) return network.error().message;
  std::string text;
  for (const PluginConf& plugin : network->plugins) text += (text.empty() ? "" : " ") + plugin.type;
  return text;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("parse_conflist: refuses what libcni refuses, and names file and key") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "read network 'f.conflist'"},
      {"{", "read network 'f.conflist'"},
      {"[]", "expected an object"},
      {"null", "expected an object"},
      {R"({"plugins": [{"type": "x"}]})", "\"name\" is missing"},
      {R"({"name": 3, "plugins": [{"type": "x"}]})", "\"name\": expected a string, got 3"},
      {R"({"name": null, "plugins": [{"type": "x"}]})", "\"name\": expected a string, got null"},
      {R"({"name": "a", "cniVersion": 1, "plugins": [{"type": "x"}]})", "\"cniVersion\": expected a string, got 1"},
      {list(R"("cniVersions": "1.0.0")"), "\"cniVersions\": expected a list of versions"},
      {list(R"("cniVersions": null)"), "\"cniVersions\": expected a list of versions"},
      {list(R"("cniVersions": [1])"), "\"cniVersions\"[0]"},
      {list(R"("cniVersions": ["one"])"), "\"cniVersions\": expected a version like \"1.0.0\", got \"one\""},
      {list(R"("cniVersions": ["1.0.0.0"])"), "\"cniVersions\": expected a version"},
      {list(R"("cniVersions": ["1..0"])"), "\"cniVersions\": expected a version"},
      {R"({"name": "a", "cniVersion": "x", "cniVersions": ["1.0.0"], "plugins": [{"type": "x"}]})",
       "\"cniVersion\": expected a version"},
      {list(R"("disableCheck": 1)"), "\"disableCheck\": expected true or false, got 1"},
      {list(R"("disableGC": "yes")"), "\"disableGC\": expected true or false, got \"yes\""},
      {list(R"("disableGC": null)"), "\"disableGC\": expected true or false, got null"},
      {list(R"("loadOnlyInlinedPlugins": [])"), "\"loadOnlyInlinedPlugins\": expected true or false"},
      {R"({"name": "a", "loadOnlyInlinedPlugins": true})", "\"loadOnlyInlinedPlugins\" is true"},
      {R"({"name": "a", "plugins": {}})", "\"plugins\": expected a list of objects, got {}"},
      {R"({"name": "a", "plugins": null})", "\"plugins\": expected a list of objects, got null"},
      {R"({"name": "a", "plugins": []})", "\"plugins\" is empty"},
      {R"({"name": "a", "plugins": [{"type": "x"}, {}]})", "plugin 2 of \"plugins\": \"type\" is missing"},
      {R"({"name": "a", "plugins": [{"type": ""}]})", "plugin 1 of \"plugins\": \"type\" is missing"},
      {R"({"name": "a", "plugins": [{"type": 1}]})", "plugin 1 of \"plugins\": \"type\""},
      {R"({"name": "a", "plugins": ["x"]})", "plugin 1 of \"plugins\": expected an object, got \"x\""},
      {R"({"name": "a", "plugins": [{"type": "x", "capabilities": {"ips": "yes"}}]})", "\"capabilities\": \"ips\""},
      {R"({"name": "a", "plugins": [{"type": "x", "capabilities": ["ips"]}]})", "\"capabilities\""},
      {R"({"name": "a", "plugins": [{"type": "x", "ipam": {"type": 7}}]})", "\"type\""},
      {R"({"name": "a", "plugins": [{"type": "x", "ipam": "y"}]})", "\"ipam\""},
      {R"({"name": "a", "plugins": [{"type": "x", "dns": {"nameservers": "y"}}]})", "\"nameservers\""},
  };
  for (const auto& [text, message] : cases) {
    CAPTURE(text);
    const Result<Conflist> network = parse_conflist(text, "f.conflist");
    REQUIRE_FALSE(network);
    CHECK(contains(network.error().message, "f.conflist"));
    CHECK_MESSAGE(contains(network.error().message, message), network.error().message);
  }
}

TEST_CASE("parse_conflist: takes the highest version that both the file and we speak") {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("cniVersion": "0.4.0")", "0.4.0"},
      {R"("cniVersion": "")", "0.1.0"},
      {R"("dummy": 0)", "0.1.0"},
      {R"("cniVersion": "1.0.0", "cniVersions": ["1.0.0", "1.1.0"])", "1.1.0"},
      {R"("cniVersion": "1.0.0", "cniVersions": ["1.1.0", "0.4.0"])", "1.1.0"},
      {R"("cniVersion": "1.0.0", "cniVersions": ["0.3.1"])", "1.0.0"},
      {R"("cniVersion": "1.0.0", "cniVersions": ["1.1.0", "1.2.0", "10.0.0"])", "1.1.0"},
      {R"("cniVersion": "1.0.0", "cniVersions": [])", "1.0.0"},
      {R"("cniVersions": ["0.3.0", "0.4.0"])", "0.4.0"},
      {R"("cniVersion": "2.0.0", "cniVersions": ["0.4.0"])", "0.4.0"},
      {R"("cniVersion": "2.0.0", "cniVersions": ["3.0.0"])", "2.0.0"},
      {R"("cniVersion": "2.0.0")", "2.0.0"},
  };
  for (const auto& [keys, version] : cases) {
    CAPTURE(keys);
    const Result<Conflist> network = parse_conflist(R"({"name": "a", "plugins": [{"type": "x"}], )" + keys + "}", "f");
    REQUIRE(network);
    CHECK(network->cni_version == version);
  }
}

TEST_CASE("parse_conflist: booleans may be strings in any case") {
  const Result<Conflist> network =
      parse_conflist(list(R"("disableCheck": "True", "disableGC": "FALSE", "loadOnlyInlinedPlugins": true)"), "f");
  REQUIRE(network);
  CHECK(network->disable_check);
  CHECK_FALSE(network->disable_gc);
  CHECK(network->load_only_inlined_plugins);
}

TEST_CASE("parse_conflist: keeps every key of a plugin and the file's text") {
  const std::string text =
      R"({"name": "a", "plugins": [{"type": "x", "mtu": 1400, "capabilities": {"ips": true, "mac": false, "z": null}}]})";
  const Result<Conflist> network = parse_conflist(text, "f");
  REQUIRE(network);
  CHECK(network->bytes == text);
  REQUIRE(network->plugins.size() == 1);
  CHECK(network->plugins[0].raw["mtu"] == 1400);
  CHECK(network->plugins[0].capabilities == std::map<std::string, bool>{{"ips", true}, {"mac", false}, {"z", false}});
}

TEST_CASE("parse_conflist: a list without plugins is one; its folder may bring some") {
  const Result<Conflist> network = parse_conflist(R"({"name": "a"})", "f");
  REQUIRE(network);
  CHECK(network->plugins.empty());
}

TEST_CASE("parse_conflist: our own keys") {
  const Result<Conflist> plain = parse_conflist(list(""), "f");
  REQUIRE(plain);
  CHECK_FALSE(plain->host_netns);
  CHECK(plain->tap_prefix == "vmtap");
  const Result<Conflist> host = parse_conflist(list(R"("netns": "host", "tap_prefix": "demo")"), "f");
  REQUIRE(host);
  CHECK(host->host_netns);
  CHECK(host->tap_prefix == "demo");
  for (const char* keys : {R"("netns": "private")", R"("netns": 1)", R"("tap_prefix": "a/b")", R"("tap_prefix": 3)",
                           R"("tap_prefix": "elevenchars")", R"("tap_prefix": "")"}) {
    CAPTURE(keys);
    const Result<Conflist> network = parse_conflist(list(keys), "f");
    REQUIRE_FALSE(network);
    CHECK(network.error().kind == Kind::kInvalidConfig);
    CHECK((contains(network.error().message, "\"netns\"") || contains(network.error().message, "\"tap_prefix\"")));
  }
}

TEST_CASE("load_network: the first *.conflist by name, then *.conf and *.json") {
  const TempFolder dir;
  dir.write("20-b.conflist", R"({"name": "n", "plugins": [{"type": "second"}]})");
  dir.write("10-a.conflist", R"({"name": "other", "plugins": [{"type": "x"}]})");
  dir.write("30-c.conflist", R"({"name": "n", "plugins": [{"type": "third"}]})");
  dir.write("00-d.conf", R"({"name": "n", "type": "conf"})");
  dir.write("01-e.json", R"({"name": "json", "type": "json", "cniVersion": "0.4.0", "k": 1})");
  dir.write("02-f.conf", R"({"name": "json", "type": "later"})");
  dir.write("README", "not a network");
  dir.write("99-x.conflist.bak", "{");
  dir.folder("05-folder.conflist");
  CHECK(types(dir.path(), "n") == "second");
  CHECK(types(dir.path(), "other") == "x");
  CHECK(types(dir.path(), "json") == "json");

  const Result<Conflist> upconverted = load_network(dir.path(), "json");
  REQUIRE(upconverted);
  CHECK(upconverted->cni_version == "0.4.0");
  CHECK(upconverted->plugins[0].raw["k"] == 1);
  const Result<Conflist> again = parse_conflist(upconverted->bytes, "cache");
  REQUIRE(again);
  CHECK(again->plugins[0].type == "json");
}

TEST_CASE("load_network: an unknown name gets the known ones") {
  const TempFolder dir;
  Result<Conflist> network = load_network(dir.path() + "/absent", "n");
  REQUIRE_FALSE(network);
  CHECK(network.error().kind == Kind::kNotFound);
  CHECK(contains(network.error().hint, "holds no network"));
  dir.write("10-a.conflist", R"({"name": "first", "plugins": [{"type": "x"}]})");
  dir.write("20-b.conf", R"({"name": "second", "type": "x"})");
  network = load_network(dir.path(), "n");
  REQUIRE_FALSE(network);
  CHECK(network.error().message == "find network 'n' in '" + dir.path() + "': no such network");
  CHECK(contains(network.error().hint, "first, second"));
}

TEST_CASE("load_network: a file that cannot be read hides no other, and is named when nothing else has the name") {
  const TempFolder dir;
  dir.write("10-a.conflist", R"({"name": "n", "plugins": [{"type": "x"}]})");
  dir.write("20-broken.conflist", "{");
  dir.write("30-c.conflist", R"({"name": "behind", "plugins": [{"type": "y"}]})");
  CHECK(types(dir.path(), "n") == "x");
  CHECK(types(dir.path(), "behind") == "y");
  CHECK(contains(types(dir.path(), "absent"), "20-broken.conflist"));
  // What says that it is the one asked for is not passed over.
  dir.write("20-broken.conflist", R"({"name": "behind", "plugins": []})");
  CHECK(contains(types(dir.path(), "behind"), "20-broken.conflist"));
  dir.remove("20-broken.conflist");
  CHECK(types(dir.path(), "behind") == "y");
  dir.write("00-c.conf", R"({"name": "single", "type": "s"})");
  CHECK(types(dir.path(), "single") == "s");
  dir.write("00-no-type.json", R"({"name": "z"})");
  CHECK(types(dir.path(), "behind") == "y");
  CHECK(contains(types(dir.path(), "z"), "\"type\" is missing"));
}

TEST_CASE("load_network: a wrong key of ours harms its own network only") {
  const TempFolder dir;
  dir.write("10-a.conflist", R"({"name": "n", "netns": "nowhere", "plugins": [{"type": "x"}]})");
  dir.write("20-b.conflist", R"({"name": "good", "plugins": [{"type": "y"}]})");
  CHECK(types(dir.path(), "good") == "y");
  CHECK(contains(types(dir.path(), "n"), "\"netns\""));
}

TEST_CASE("load_network: plugins of the network's folder follow the inlined ones") {
  const TempFolder dir;
  dir.write("10-a.conflist", R"({"name": "n", "plugins": [{"type": "x"}]})");
  dir.folder("n");
  dir.write("n/20-b.conf", R"({"type": "second", "name": "whatever"})");
  dir.write("n/10-a.conf", R"({"type": "first"})");
  dir.write("n/30-c.json", R"({"type": "ignored"})");
  CHECK(types(dir.path(), "n") == "x first second");
  dir.write("10-a.conflist", R"({"name": "n", "loadOnlyInlinedPlugins": "true", "plugins": [{"type": "x"}]})");
  CHECK(types(dir.path(), "n") == "x");
  dir.write("10-a.conflist", R"({"name": "n"})");
  CHECK(types(dir.path(), "n") == "first second");
  dir.write("n/40-d.conf", R"({"name": "no type"})");
  CHECK(contains(types(dir.path(), "n"), "n/40-d.conf"));
  dir.write("10-a.conflist", R"({"name": "alone"})");
  CHECK(contains(types(dir.path(), "alone"), "there are no plugins"));
}

TEST_CASE("list_networks: good ones, shadowed ones and broken ones") {
  const TempFolder dir;
  const Result<Listing> absent = list_networks(dir.path() + "/absent");
  REQUIRE(absent);
  CHECK(absent->networks.empty());
  dir.write("10-a.conflist", R"({"name": "n", "plugins": [{"type": "x"}]})");
  dir.write("20-b.conflist", R"({"name": "n", "plugins": [{"type": "y"}]})");
  dir.write("30-c.conflist", "{");
  dir.write("40-d.conflist", R"({"name": "o", "netns": "nowhere", "plugins": [{"type": "y"}]})");
  dir.write("50-e.conf", R"({"name": "single", "type": "z"})");
  const Result<Listing> listing = list_networks(dir.path());
  REQUIRE(listing);
  REQUIRE(listing->networks.size() == 2);
  CHECK(listing->networks[0].name == "n");
  CHECK(listing->networks[1].name == "single");
  REQUIRE(listing->shadowed.size() == 1);
  CHECK(listing->shadowed[0].file == dir.path() + "/20-b.conflist");
  REQUIRE(listing->broken.size() == 2);
  CHECK(listing->broken[0].file == dir.path() + "/30-c.conflist");
  CHECK(listing->broken[1].file == dir.path() + "/40-d.conflist");
}
