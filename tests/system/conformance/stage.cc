#include "tests/system/conformance/stage.h"

#include <filesystem>
#include <fstream>

#include "tests/system/conformance/firewalld.h"

namespace slicer::test::conformance {
namespace {

constexpr const char* kSpies = "/run/spies";
constexpr const char* kNetwork = "net";

std::string helper(const std::string& name) { return bin_dir() + "/../tests/bin/" + name; }

Json conf_of(const Subject& subject, const std::string& version) {
  Json conf = Json::parse(subject.keys);
  conf["cniVersion"] = version;
  conf["name"] = kNetwork;
  conf["type"] = subject.name;
  return conf;
}

}  // namespace

void Verdict::expect(bool holds, const std::string& otherwise) {
  if (!holds) violations_.push_back(otherwise);
}

void Verdict::expect(bool holds, const std::string& otherwise, const Answer& answer) {
  if (!holds) violations_.push_back(otherwise + "\n" + answer.text());
}

void Verdict::require(bool holds, const std::string& otherwise) {
  expect(holds, otherwise);
  if (!holds) throw Unprovable{};
}

void Verdict::require(bool holds, const std::string& otherwise, const Answer& answer) {
  expect(holds, otherwise, answer);
  if (!holds) throw Unprovable{};
}

void Verdict::expect_error(const Answer& answer, int code, const std::string& word) {
  expect(answer.exit_code != 0, "exit code 0 where code " + std::to_string(code) + " was due", answer);
  expect(answer.code() == code, "no error with code " + std::to_string(code), answer);
  expect(answer.msg().find(word) != std::string::npos, "the message does not name '" + word + "'", answer);
}

Stage::Stage(const Subject& subject, std::string distortion) : subject_(subject), distortion_(std::move(distortion)) {
  if (*subject.host == '\0') return;
  const Outcome made = test::run({"ip", "-batch", "-"}, {.in = subject.host});
  if (!made.ok()) give_up("make the host of " + std::string(subject.name) + ": " + made.err);
}

Netns& Stage::box(const std::string& id) {
  std::unique_ptr<Netns>& place = boxes_[id];
  if (place == nullptr) place = std::make_unique<Netns>("box-" + id);
  return *place;
}

Call Stage::call(const std::string& verb, const std::string& id) {
  Call call{.command = verb,
            .container_id = id,
            .netns = box(id).path(),
            .ifname = "tap0",
            .extra = {{"CNI_PATH", std::string(kSpies) + ":" + bin_dir()}},
            .deadline = std::chrono::seconds(10)};
  if (subject_.firewalld) call.extra["DBUS_SYSTEM_BUS_ADDRESS"] = firewalld_bus();
  return call;
}

Json Stage::bare_conf(const std::string& version) const { return conf_of(subject_, version); }

Json Stage::conf(const std::string& version, const std::string& id) {
  Json conf = bare_conf(version);
  if (*subject_.behind == '\0' || !since(version, "0.3.0")) return conf;
  Json& before = before_[id];
  if (before.is_null()) {
    const Subject& first = conformance::subject(subject_.behind);
    Answer answer = call_plugin(first.name, conf_of(first, version), call("ADD", id));
    if (!answer.ok()) give_up(std::string("ADD of ") + first.name + ": " + answer.text());
    before = std::move(answer.json);
  }
  conf["prevResult"] = before;
  return conf;
}

Answer Stage::run(const std::string& text, const Call& call) const {
  if (distortion_.empty()) return call_plugin_raw(subject_.name, text, call);
  Call distorted = call;
  distorted.extra["DISTORTION"] = distortion_;
  distorted.extra["DISTORTED_PLUGIN"] = bin_dir() + "/" + subject_.name;
  return call_plugin_raw("../tests/bin/distorted_plugin", text, distorted);
}

Answer Stage::run(const Json& conf, const Call& call) const { return run(conf.dump(), call); }

Json Stage::add(Verdict& verdict, const std::string& version, const std::string& id) {
  Answer answer = run(conf(version, id), call("ADD", id));
  verdict.require(answer.ok(), "ADD of " + id + " in version " + version + " failed", answer);
  return std::move(answer.json);
}

Json Stage::conf_with(const Json& result, const std::string& version, const std::string& id) {
  Json with_result = conf(version, id);
  with_result["prevResult"] = result;
  return with_result;
}

Json Stage::passed_on(Json result, const Json& previous) const {
  if (!makes_link(subject_)) return result;
  Json& interfaces = result["interfaces"];
  while (interfaces.size() > previous["interfaces"].size()) interfaces.erase(interfaces.size() - 1);
  for (size_t i = 0; i < previous["ips"].size(); ++i) result["ips"][i]["interface"] = previous["ips"][i]["interface"];
  return result;
}

bool Stage::has_interface(const std::string& id) {
  return test::run({"ip", "link", "show", "dev", subject_.link}, {.netns = box(id).path()}).ok();
}

bool Stage::has_lease(const std::string& id) {
  std::error_code none;
  for (const auto& entry : std::filesystem::recursive_directory_iterator("/var/lib/cni/networks", none)) {
    if (!entry.is_regular_file() || entry.path().string().find("/.slicer/") != std::string::npos) continue;
    std::ifstream file(entry.path());
    std::string owner;
    std::getline(file, owner);
    if (owner == id + "\r") return true;
  }
  return false;
}

bool Stage::has_source(const std::string& id) const {
  const auto before = before_.find(id);
  return before != before_.end() && is_trusted_source(ip_of(before->second, 4) + "/32");
}

void Stage::install_spy(const std::string& type) {
  std::filesystem::create_directories(kSpies);
  std::filesystem::create_symlink(std::filesystem::canonical(helper("spy_plugin")), std::string(kSpies) + "/" + type);
}

std::vector<Json> Stage::spied() {
  std::vector<Json> calls;
  std::ifstream log(std::string(kSpies) + "/log");
  for (std::string line; std::getline(log, line);) calls.push_back(Json::parse(line));
  return calls;
}

void Stage::forget_spied() { (void)std::filesystem::remove(std::string(kSpies) + "/log"); }

Json Stage::with_spy(Json conf) const {
  const std::string lease = subject_.lease;
  const std::string address = lease.substr(0, lease.find('/'));
  const auto last = std::stoi(address.substr(address.rfind('.') + 1));
  const std::string gateway =
      address.substr(0, address.rfind('.') + 1) + std::to_string(lease.ends_with("/30") ? last - 1 : 1);
  conf.erase("range");  // slicer-isolated's pool
  conf["ipam"] = {{"type", "spy-ipam"}, {"spy", {{"result", {{"ips", {{{"address", lease}, {"gateway", gateway}}}}}}}}};
  return conf;
}

}  // namespace slicer::test::conformance
