// runner/chain/cache: libcni's files, to the field (cni@3f51e88, libcni/api.go: cachedInfo).

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "lib/base/whole_file.h"
#include "runner/chain/cache.h"
#include "tests/unit/runner/temp_folder.h"

using namespace slicer;
using namespace slicer::chain;
using slicer::test::TempFolder;

namespace {

const AttachmentKey kKey{.network = "slicer", .container_id = "demo-1", .ifname = "vmtap0"};

CacheEntry full_entry() {
  return {.key = kKey,
          .netns = "/proc/1/ns/net",
          .args = {{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_UID", "64"}},
          .capability_args = {{"ips", {"192.0.2.7/24"}}},
          .config = "{\"name\": \"slicer\"}\n",
          .result = {{"cniVersion", "1.0.0"}, {"ips", {{{"address", "192.0.2.7/24"}}}}}};
}

unsigned mode_of(const std::string& path) {
  struct stat status = {};
  REQUIRE(stat(path.c_str(), &status) == 0);
  return status.st_mode & 07777U;
}

cni::Json written(const Cache& cache, const CacheEntry& entry) {
  REQUIRE(cache.store(entry));
  const Result<std::string> text = read_file(cache.path(entry.key));
  REQUIRE(text);
  const Result<cni::Json> json = cni::parse_json(*text);
  REQUIRE(json);
  return *json;
}

/// What libcni wrote for a real ADD, as its encoder orders and escapes it.
constexpr const char* kFromLibcni =
    R"({"kind":"cniCacheV1","containerId":"demo-1","config":"eyJuYW1lIjogInNsaWNlciJ9Cg==","ifName":"vmtap0",)"
    R"("networkName":"slicer","netns":"/var/run/netns/a\u0026b","cniArgs":[["K8S_POD_NAME","x"],["IgnoreUnknown","1"]],)"
    R"("capabilityArgs":{"portMappings":[{"hostPort":80}]},"result":{"cniVersion":"1.0.0","dns":{},)"
    R"("interfaces":[{"name":"eth0","sandbox":"/var/run/netns/a"}],"ips":[{"address":"192.0.2.9/24","interface":0}]}})";

}  // namespace

TEST_CASE("Cache: writes libcni's fields, place and modes") {
  const TempFolder dir;
  const Cache cache(dir.file("cni"));
  CHECK(cache.path(kKey) == dir.path() + "/cni/results/slicer-demo-1-vmtap0");
  const cni::Json json = written(cache, full_entry());
  CHECK(json == cni::Json::parse(R"({"kind": "cniCacheV1", "containerId": "demo-1", "ifName": "vmtap0",
    "networkName": "slicer", "netns": "/proc/1/ns/net", "config": "eyJuYW1lIjogInNsaWNlciJ9Cg==",
    "cniArgs": [["IgnoreUnknown", "1"], ["TC_REDIRECT_TAP_UID", "64"]], "capabilityArgs": {"ips": ["192.0.2.7/24"]},
    "result": {"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.7/24"}]}})"));
  CHECK(mode_of(cache.path(kKey)) == 0600);
  CHECK(mode_of(dir.path() + "/cni/results") == 0700);
}

TEST_CASE("Cache: leaves empty fields out, as libcni's omitempty does") {
  const TempFolder dir;
  const cni::Json json = written(Cache(dir.path()), {.key = kKey});
  CHECK(json == cni::Json::parse(R"({"kind": "cniCacheV1", "containerId": "demo-1", "ifName": "vmtap0",
    "networkName": "slicer", "config": ""})"));
}

TEST_CASE("Cache: gives back what it stored, whatever bytes the configuration has") {
  const TempFolder dir;
  const Cache cache(dir.path());
  for (size_t length = 0; length < 9; ++length) {
    CacheEntry entry = full_entry();
    entry.config = std::string("\x00\xff\x10\x80\n{}\"\xc3", 9).substr(0, length);
    REQUIRE(cache.store(entry));
    const auto loaded = cache.load(kKey);
    REQUIRE(loaded);
    REQUIRE(*loaded);
    CHECK((*loaded)->config == entry.config);
    CHECK((*loaded)->args == entry.args);
    CHECK((*loaded)->netns == entry.netns);
    CHECK((*loaded)->capability_args == entry.capability_args);
    CHECK((*loaded)->result == entry.result);
  }
}

TEST_CASE("Cache: reads what libcni wrote") {
  const TempFolder dir;
  const Cache cache(dir.path());
  dir.folder("results");
  dir.write("results/slicer-demo-1-vmtap0", kFromLibcni);
  const auto loaded = cache.load(kKey);
  REQUIRE(loaded);
  REQUIRE(*loaded);
  CHECK((*loaded)->key == kKey);
  CHECK((*loaded)->netns == "/var/run/netns/a&b");
  CHECK((*loaded)->config == "{\"name\": \"slicer\"}\n");
  CHECK((*loaded)->args == CniArgs{{"K8S_POD_NAME", "x"}, {"IgnoreUnknown", "1"}});
  CHECK((*loaded)->capability_args["portMappings"][0]["hostPort"] == 80);
  CHECK((*loaded)->result["ips"][0]["address"] == "192.0.2.9/24");
}

TEST_CASE("Cache: a file from before cniCacheV1 is the bare result") {
  const TempFolder dir;
  const Cache cache(dir.path());
  dir.folder("results");
  dir.write("results/slicer-demo-1-vmtap0",
            R"({"cniVersion": "0.4.0", "ips": [{"version": "4", "address": "192.0.2.9/24"}]})");
  const auto loaded = cache.load(kKey);
  REQUIRE(loaded);
  REQUIRE(*loaded);
  CHECK((*loaded)->result["cniVersion"] == "0.4.0");
  CHECK((*loaded)->key == kKey);
  const auto all = cache.list();
  REQUIRE(all);
  CHECK(all->empty());  // it does not say whose it is
}

TEST_CASE("Cache: an absent entry is none, garbage is an error") {
  const TempFolder dir;
  const Cache cache(dir.path());
  auto loaded = cache.load(kKey);
  REQUIRE(loaded);
  CHECK_FALSE(*loaded);
  dir.folder("results");
  for (const char* text :
       {"", "{", "[]", R"({"kind": "cniCacheV1", "config": "?"})", R"({"kind": "cniCacheV1", "netns": 1})",
        R"({"kind": "cniCacheV1", "cniArgs": [["a"]]})", R"({"cniVersion": "77"})"}) {
    CAPTURE(text);
    dir.write("results/slicer-demo-1-vmtap0", text);
    loaded = cache.load(kKey);
    REQUIRE_FALSE(loaded);
    CHECK(loaded.error().message.find("slicer-demo-1-vmtap0") != std::string::npos);
  }
}

TEST_CASE("Cache: two attachments with one file name do not take each other's result") {
  const TempFolder dir;
  const Cache cache(dir.path());
  const CacheEntry mine{.key = {.network = "a-b", .container_id = "c", .ifname = "eth0"}, .result = {{"ips", 1}}};
  const AttachmentKey other{.network = "a", .container_id = "b-c", .ifname = "eth0"};
  REQUIRE(cache.path(mine.key) == cache.path(other));
  REQUIRE(cache.store(mine));
  auto loaded = cache.load(other);
  REQUIRE(loaded);
  CHECK_FALSE(*loaded);
  REQUIRE(cache.remove(other));
  loaded = cache.load(mine.key);
  REQUIRE(loaded);
  CHECK(*loaded);
}

TEST_CASE("Cache: removes, and absent is success") {
  const TempFolder dir;
  const Cache cache(dir.path());
  CHECK(cache.remove(kKey));
  REQUIRE(cache.store(full_entry()));
  CHECK(cache.remove(kKey));
  CHECK_FALSE(std::filesystem::exists(cache.path(kKey)));
  dir.write("results/slicer-demo-1-vmtap0", "garbage");
  CHECK(cache.remove(kKey));
  CHECK_FALSE(std::filesystem::exists(cache.path(kKey)));
}

TEST_CASE("Cache: refuses a key that is no file name") {
  const TempFolder dir;
  const Cache cache(dir.path());
  for (const AttachmentKey& key : {AttachmentKey{.network = "a", .container_id = "", .ifname = "x"},
                                   AttachmentKey{.network = "../a", .container_id = "b", .ifname = "x"}}) {
    CHECK_FALSE(cache.store({.key = key}));
    CHECK(cache.remove(key));
  }
}

TEST_CASE("Cache: lists every readable entry by file name") {
  const TempFolder dir;
  const Cache cache(dir.path());
  REQUIRE(cache.list());
  CHECK(cache.list()->empty());
  for (const char* id : {"b", "a"}) {
    CacheEntry entry = full_entry();
    entry.key.container_id = id;
    REQUIRE(cache.store(entry));
  }
  dir.write("results/other", R"({"kind": "cniCacheV2"})");
  dir.write("results/garbage", "{");
  dir.write("results/nameless", R"({"kind": "cniCacheV1", "containerId": "x"})");
  const auto entries = cache.list();
  REQUIRE(entries);
  REQUIRE(entries->size() == 2);
  CHECK((*entries)[0].key.container_id == "a");
  CHECK((*entries)[1].key.container_id == "b");
}
