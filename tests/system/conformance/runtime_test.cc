// Sections 1 to 3, what they ask of a runtime: slicer-run with a chain of spies behind a plugin that makes a TAP.
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "tests/system/conformance/requirement.h"
#include "tests/system/runner/runner_support.h"

namespace slicer::test::conformance {
namespace {

std::string own_netns() {
  std::array<char, 64> link{};
  const ssize_t size = readlink("/proc/self/ns/net", link.data(), link.size());
  return {link.data(), static_cast<size_t>(size > 0 ? size : 0)};
}

/// A machine with slicer-run, stand-ins for hypervisors, and the plugins alpha and beta, which are spies.
struct Machine : StandInMachine {
  Machine() {
    Stage::install_spy("alpha");
    Stage::install_spy("beta");
  }

  /// Writes the network "net": tap_plugin, alpha, beta.
  static void network(const Json& alpha = Json::object(), const Json& beta = Json::object(),
                      const Json& keys = {{"cniVersion", "1.0.0"}}) {
    Json tap = {
        {"type", "tap_plugin"}, {"address", "192.0.2.2/24"}, {"gateway", "192.0.2.1/24"}, {"log", "/run/calls"}};
    Json first = {{"type", "alpha"}};
    Json second = {{"type", "beta"}};
    first.update(alpha);
    second.update(beta);
    Json list = {{"name", "net"}, {"plugins", {tap, first, second}}};
    list.update(keys);
    std::ofstream("/etc/cni/net.d/10-net.conflist") << list.dump();
  }

  static Outcome slicer_run(const std::string& line) {
    std::vector<std::string> argv = {bin_dir() + "/slicer-run", "--cni-path",
                                     "/run/spies:" + Runner::plugin_dir() + ":" + bin_dir()};
    for (std::string& word : words(line)) argv.push_back(std::move(word));
    return run(argv, {.deadline = std::chrono::seconds(60)});
  }

  static void boot(const std::string& more = {}) {
    const Outcome made =
        slicer_run("vm new vm-1 --network net --ram-mb 16 --kernel " + std::string(Runner::kTinyKernel) + " " + more);
    INFO(made.err);
    REQUIRE(made.ok());
  }
  static void remove() {
    const Outcome removed = slicer_run("vm rm --now vm-1");
    INFO(removed.err);
    REQUIRE(removed.ok());
  }

  /// "alpha-ADD beta-ADD"
  static std::string order() {
    std::string text;
    for (const Json& call : Stage::spied())
      text += (text.empty() ? "" : " ") + call["plugin"].get<std::string>() + "-" + call["command"].get<std::string>();
    return text;
  }
  static Json call(const std::string& plugin, const std::string& command) {
    for (Json& each : Stage::spied())
      if (each["plugin"] == plugin && each["command"] == command) return std::move(each);
    FAIL("no " << command << " of " << plugin << ": " << order());
    return {};
  }
};

}  // namespace

RUNTIME("2 Overview", "MUST", "plugins run in the runtime's own network namespace") {
  const Machine machine;
  Machine::network();
  Machine::boot();
  Machine::remove();
  for (const Json& each : Stage::spied()) CHECK(each["netns"] == own_netns());
}

RUNTIME("3 Lifecycle & Ordering", "MUST", "the namespace is there before any plugin runs, and cleaned up afterwards") {
  const Machine machine;
  Machine::network();
  Machine::boot();
  CHECK(Machine::call("alpha", "ADD")["namespace_is_there"] == true);
  const std::string netns = Machine::call("alpha", "ADD")["env"]["CNI_NETNS"];
  CHECK(std::filesystem::exists(netns));
  Machine::remove();
  CHECK(Machine::call("beta", "DEL")["namespace_is_there"] == true);
  CHECK_FALSE(std::filesystem::exists(netns));
}

RUNTIME("3 Lifecycle & Ordering", "MUST", "an ADD is followed by a DEL, also one that failed") {
  const Machine machine;
  Machine::network(
      {{"spy", {{"fail", {{"ADD", {{"cniVersion", "1.0.0"}, {"code", 123}, {"msg", "alpha says no"}}}}}}}});
  const Outcome made =
      Machine::slicer_run("vm new vm-1 --network net --ram-mb 16 --kernel " + std::string(Runner::kTinyKernel));
  CHECK(made.exit_code == 1);
  CHECK(made.err.find("alpha says no") != std::string::npos);
  CHECK(Machine::order() == "alpha-ADD beta-DEL alpha-DEL");
  REQUIRE(Runner::calls().size() == 2);
  CHECK(Runner::calls()[1].starts_with("DEL vm-1"));
}

RUNTIME(
    "3 Attachment Parameters", "is",
    "CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME, CNI_ARGS and CNI_PATH are always set, and the same for DEL as for ADD") {
  const Machine machine;
  Machine::network();
  Machine::boot();
  Machine::remove();
  const Json added = Machine::call("alpha", "ADD")["env"];
  const Json deleted = Machine::call("alpha", "DEL")["env"];
  for (const char* name : {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"}) {
    CAPTURE(name);
    CHECK(added.value(name, "") != "");
    CHECK(deleted.value(name, "") != "");
    if (std::string(name) != "CNI_PATH") CHECK(deleted.value(name, "") == added.value(name, ""));  // which may differ
  }
  CHECK(added["CNI_CONTAINERID"] == "vm-1");
  CHECK(added["CNI_PATH"].get<std::string>().find("/run/spies") != std::string::npos);
}

RUNTIME("3 Adding an attachment", "is",
        "plugins are run in order, the first without a prevResult, each other with the result before it") {
  const Machine machine;
  Machine::network({{"spy", {{"result", {{"ips", {{{"address", "192.0.2.77/24"}}}}}}}}});
  const Outcome made =
      Machine::slicer_run("vm new vm-1 --network net --ram-mb 16 --kernel " + std::string(Runner::kTinyKernel));
  (void)made;  // alpha has dropped the TAP from the result: the VM is none. What counts is what beta got.
  CHECK(Machine::order().starts_with("alpha-ADD beta-ADD"));
  const Json first = Machine::call("alpha", "ADD")["conf"]["prevResult"];
  CHECK(first["ips"][0]["address"] == "192.0.2.2/24");
  CHECK(Machine::call("beta", "ADD")["conf"]["prevResult"]["ips"][0]["address"] == "192.0.2.77/24");
}

RUNTIME("3 Adding an attachment", "MUST", "the result of the last plugin is stored persistently") {
  const Machine machine;
  Machine::network();
  Machine::boot();
  Json cached;
  for (const auto& entry : std::filesystem::directory_iterator("/var/lib/cni/results"))
    cached = Json::parse(contents(entry.path()), nullptr, false);
  REQUIRE(cached.is_object());
  Json last = Machine::call("beta", "ADD")["conf"]["prevResult"];  // beta hands it on
  CHECK(cached["result"]["ips"] == last["ips"]);
  CHECK(cached["result"]["interfaces"] == last["interfaces"]);
}

RUNTIME("3 Deleting an attachment", "is", "plugins are run in reverse order, each with the final result") {
  const Machine machine;
  Machine::network();
  Machine::boot();
  Stage::forget_spied();
  Machine::remove();
  CHECK(Machine::order() == "beta-DEL alpha-DEL");
  const Json final = Machine::call("beta", "DEL")["conf"]["prevResult"];
  CHECK(final["ips"][0]["address"] == "192.0.2.2/24");
  CHECK(Machine::call("alpha", "DEL")["conf"]["prevResult"] == final);
}

RUNTIME("3 Deriving request configuration", "MUST",
        "cniVersion and name are put in, capabilities is taken out, all other keys pass unchanged") {
  const Machine machine;
  const Json strange = {{"x.strange", {1, nullptr, {{"deep", {true, 1.5}}}}},
                        {"capabilities", {{"mac", true}}},
                        {"ipam", {{"type", "none"}}}};
  Machine::network(strange);
  Machine::boot();
  Machine::remove();
  for (const char* verb : {"ADD", "DEL"}) {
    const Json conf = Machine::call("alpha", verb)["conf"];
    CAPTURE(conf.dump());
    CHECK(conf["name"] == "net");
    CHECK(conf["cniVersion"] == "1.0.0");
    CHECK(conf["type"] == "alpha");
    CHECK(conf["x.strange"] == strange["x.strange"]);
    CHECK(conf["ipam"] == strange["ipam"]);
    CHECK_FALSE(conf.contains("capabilities"));
    CHECK_FALSE(conf.contains("cni.dev/valid-attachments"));
  }
}

RUNTIME("3 Deriving request configuration", "MUST",
        "prevResult is not set for the first ADD, and what the runtime writes is not taken from the file") {
  const Machine machine;
  const Json foreign = {{"prevResult", {{"cniVersion", "1.0.0"}, {"ips", {{{"address", "198.51.100.7/24"}}}}}},
                        {"cni.dev/valid-attachments", Json::array()},
                        {"capabilities", {{"mac", true}}},
                        {"spy", Json::object()}};
  Machine::network(foreign, Json::object(), {{"cniVersion", "1.1.0"}});
  (void)Machine::slicer_run("doctor");
  const Json asked = Machine::call("alpha", "STATUS")["conf"];
  for (const char* key : {"prevResult", "cni.dev/valid-attachments", "capabilities"}) CHECK_FALSE(asked.contains(key));
  CHECK(asked.contains("spy"));
  Machine::boot();
  Machine::remove();
  for (const char* verb : {"ADD", "DEL"}) {
    const Json conf = Machine::call("alpha", verb)["conf"];
    CHECK(conf["prevResult"]["ips"][0]["address"] == "192.0.2.2/24");
    CHECK_FALSE(conf.contains("cni.dev/valid-attachments"));
  }
}

RUNTIME("3 Deriving runtimeConfig", "SHOULD",
        "holds the capabilities that the plugin declares and the runtime has, and no others") {
  const Machine machine;
  Machine::network({{"capabilities", {{"policy", true}, {"portMappings", true}, {"bandwidth", true}}}},
                   {{"capabilities", {{"policy", false}, {"ipRanges", true}}}});
  Machine::boot("--drop 198.51.100.0/24");
  Machine::remove();
  for (const char* verb : {"ADD", "DEL"}) {
    const Json declared = Machine::call("alpha", verb)["conf"];
    CHECK(declared["runtimeConfig"] == Json{{"policy", {{"drop", {"198.51.100.0/24"}}}}});
    CHECK_FALSE(Machine::call("beta", verb)["conf"].contains("runtimeConfig"));
  }
}

RUNTIME("1 Version considerations", "MUST",
        "the highest version of cniVersion and cniVersions that the runtime speaks is used") {
  const Machine machine;
  Machine::network(Json::object(), Json::object(),
                   {{"cniVersion", "0.4.0"}, {"cniVersions", {"0.3.1", "1.1.0", "1.0.0", "9.0.0"}}});
  Machine::boot();
  Machine::remove();
  for (const char* verb : {"ADD", "DEL"}) CHECK(Machine::call("alpha", verb)["conf"]["cniVersion"] == "1.1.0");
}

RUNTIME("2 CHECK", "MUST", "called with the parameters of the ADD, but for CNI_PATH") {
  const Machine machine;
  Machine::network({{"capabilities", {{"policy", true}}}});
  Machine::boot("--drop 198.51.100.0/24");
  const Outcome checked = Machine::slicer_run("network check net");
  CHECK(checked.ok());
  Machine::remove();
  const Json added = Machine::call("alpha", "ADD");
  const Json asked = Machine::call("alpha", "CHECK");
  for (const char* name : {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS"}) {
    CAPTURE(name);
    CHECK(added["env"].value(name, "") != "");
    CHECK(asked["env"].value(name, "") == added["env"].value(name, ""));
  }
  CHECK(asked["conf"]["runtimeConfig"] == added["conf"]["runtimeConfig"]);
}

RUNTIME("2 GC", "MUST NOT",
        "GC is not used in place of DEL, nor at all where disableGC is set, nor CHECK where disableCheck is") {
  const Machine machine;
  Machine::network(Json::object(), Json::object(),
                   {{"cniVersion", "1.1.0"}, {"disableGC", true}, {"disableCheck", true}});
  Machine::boot();
  for (const char* line : {"list", "inspect vm-1", "doctor", "gc", "network list"}) (void)Machine::slicer_run(line);
  Machine::remove();
  const std::string order = Machine::order();
  CAPTURE(order);
  CHECK(order.find("-GC") == std::string::npos);
  CHECK(order.find("-CHECK") == std::string::npos);
  CHECK(order.ends_with("beta-DEL alpha-DEL"));
}

RUNTIME("2 STATUS", "is", "asked of every plugin, by slicer-run doctor, from 1.1.0 on, and its error is told") {
  const Machine machine;
  Machine::network(Json::object(), {{"spy", {{"fail", {{"STATUS", {{"code", 50}, {"msg", "beta is not ready"}}}}}}}},
                   {{"cniVersion", "1.1.0"}});
  const Outcome examined = Machine::slicer_run("doctor");
  CHECK(examined.out.find("beta is not ready") != std::string::npos);
  CHECK(Machine::call("alpha", "STATUS")["conf"]["cniVersion"] == "1.1.0");
  CHECK_FALSE(Machine::call("alpha", "STATUS")["conf"].contains("prevResult"));
  Stage::forget_spied();
  Machine::network();
  (void)Machine::slicer_run("doctor");
  CHECK(Machine::order().find("STATUS") == std::string::npos);
}

RUNTIME("2 VERSION", "is", "asked with the runtime's own version on stdin") {
  const Machine machine;
  Machine::network();
  (void)Machine::slicer_run("doctor");
  CHECK(Machine::call("alpha", "VERSION")["conf"] == Json{{"cniVersion", "1.1.0"}});
}

}  // namespace slicer::test::conformance
