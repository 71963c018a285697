// What no caller should send: the rows of bad_input/*.json, on every plugin and verb that they name.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <ifaddrs.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>

#include "tests/system/conformance/stage.h"
#include "tests/system/fixture/snapshot.h"

namespace slicer::test::conformance {
namespace {

constexpr const char* kOwn = "vm-1";
constexpr const char* kBystander = "vm-9";

Json table(const std::string& kind) {
  std::ifstream file(std::string(SLICER_SOURCE_DIR) + "/tests/system/conformance/bad_input/" + kind + ".json");
  return Json::parse(file);
}

/// `word` of "of" names the plugin or a kind of plugins.
bool names(const std::string& word, const Subject& subject) {
  if (word == "all") return true;
  if (word == "main") return makes_interface(subject);
  if (word == "ipam callers") return *subject.lease != '\0';
  if (word == "pool") return *subject.behind == '\0';
  return "slicer-" + word == subject.name;
}

bool is_about(const Json& row, const Subject& subject) {
  if (row["of"].is_string()) return names(row["of"], subject);
  return std::ranges::any_of(row["of"], [&](const Json& word) { return names(word, subject); });
}

bool has_verb(const Json& row, const std::string& verb) {
  if (!row.contains("verbs")) return verb == "ADD";
  return std::ranges::find(row["verbs"], Json(verb)) != row["verbs"].end();
}

/// The code that is due, of all verbs or by verb.
int code_of(const Json& row, const std::string& verb) {
  return (row["code"].is_object() ? row["code"].at(verb) : row["code"]).get<int>();
}

bool succeeds(const Json& row, const std::string& verb) { return code_of(row, verb) == 0; }

/// May the row share its host with others? Not when it changes the host, or is to have an effect.
bool is_alone(const Json& row, const std::string& verb) {
  return row.contains("do") || (succeeds(row, verb) && (verb == "ADD" || verb == "DEL" || verb == "GC"));
}

std::string stdin_of(const Json& row, const Json& conf) {
  std::string text;
  if (row.contains("stdin")) text = row["stdin"];
  if (row.contains("stdin_hex")) {
    const std::string hex = row["stdin_hex"];
    for (size_t i = 0; i < hex.size(); i += 2) text += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  if (!row.contains("stdin") && !row.contains("stdin_hex")) return conf.dump();
  std::string all;
  for (int i = 0; i < row.value("repeat", 1); ++i) all += text;
  return all;
}

void change_conf(const Json& row, Json& conf) {
  const Json set = row.value("set", Json::object());
  for (const auto& [pointer, value] : set.items()) conf[Json::json_pointer(pointer)] = value;
  const Json strings = row.value("long", Json::object());
  for (const auto& [pointer, size] : strings.items())
    conf[Json::json_pointer(pointer)] = std::string(size.get<size_t>(), 'x');
  const Json unset = row.value("unset", Json::array());
  for (const Json& pointer : unset) {
    const Json::json_pointer at(pointer.get<std::string>());
    conf[at.parent_pointer()].erase(at.back());
  }
}

/// The files that plugins write.
std::string files() {
  std::string text;
  for (const char* folder : {"/var/lib/cni", "/run"}) {
    std::error_code none;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder, none)) {
      const std::string path = entry.path();
      const std::string name = entry.path().filename();
      if (entry.symlink_status(none).type() != std::filesystem::file_type::regular || path.starts_with("/run/netns") ||
          path.find("last_reserved") != std::string::npos || name.find("index") != std::string::npos ||
          name.ends_with("lock"))
        continue;
      text += path + "\n";
    }
  }
  return text;
}

/// All that an attachment or a network can have left, of the host and of the namespaces: not as thorough as snapshot(),
/// and a tenth of its time.
std::string footprint(const std::vector<std::string>& boxes) {
  std::string text;
  std::vector<std::string> places = boxes;
  places.emplace_back(Host::netns());
  for (const std::string& place : places) {
    std::error_code none;
    if (!std::filesystem::exists(place, none)) continue;
    const Outcome shown = run({"ip", "-o", "-batch", "-"},
                              {.in = "link\naddr\nroute show table all\nneigh show nud permanent\n", .netns = place});
    std::set<std::string> lines;
    std::istringstream stream(shown.out);
    for (std::string line; std::getline(stream, line);) {
      line = line.substr(0, line.find("valid_lft"));
      if (const size_t at = line.find(": <"); at != std::string::npos)
        line = line.substr(0, at) + line.substr(line.find("> ") + 1);
      if (const size_t at = line.find(" state "); at != std::string::npos) line = line.substr(0, at);
      for (const char* volatile_word : {" linkdown", " qlen 1000", " tentative"})
        if (const size_t at = line.find(volatile_word); at != std::string::npos)
          line.erase(at, std::string(volatile_word).size());
      if (line.find("fe80:") == std::string::npos && line.find("ff00:") == std::string::npos) lines.insert(line);
    }
    for (const std::string& line : lines) text += place + ": " + line + "\n";
  }
  return text + files() + run({"nft", "-s", "list", "ruleset"}).out;
}

/// Interfaces, addresses and IPv4 routes of the namespaces, and all files, without starting a program.
std::string quick_print(const std::vector<std::string>& boxes) {
  std::string text;
  std::vector<std::string> places = boxes;
  places.emplace_back(Host::netns());
  for (const std::string& place : places) {
    in_netns(place, [&] {
      ifaddrs* list = nullptr;
      if (getifaddrs(&list) != 0) give_up("getifaddrs");
      for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
        std::array<char, INET_ADDRSTRLEN> address{};
        if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET)
          (void)inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr, address.data(),
                          address.size());
        if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET6)
          text += place + " " + each->ifa_name + " " + address.data() + "\n";
      }
      freeifaddrs(list);
      std::ifstream routes("/proc/thread-self/net/route");
      for (std::string line; std::getline(routes, line);) text += place + " " + line + "\n";
    });
  }
  return text + files();
}

/// One plugin on one host, with a bystander that nothing may touch.
class Scene {
 public:
  Scene(const Subject& subject, std::string verb) : stage_(subject), verb_(std::move(verb)) {
    result_ = stage_.add(verdict_, kNewest, kBystander);
    own_ = stage_.conf();  // what is before it in the chain is there from now on
    if (verb_ != "ADD" && verb_ != "VERSION") {
      const Json result = stage_.add(verdict_);
      if (verb_ == "CHECK" || verb_ == "DEL") own_["prevResult"] = result;
    }
    if (verb_ == "GC" || verb_ == "STATUS") own_ = stage_.bare_conf();
    boxes_ = {stage_.box(kOwn).path(), stage_.box(kBystander).path()};
  }

  /// What is wrong with the plugin's answer to the row; empty: nothing.
  std::string answer_to(const Json& row, const std::string& distortion = {}) {
    Call call = stage_.call(verb_);
    call.deadline = std::chrono::seconds(8);
    Json conf = own_;
    change_conf(row, conf);
    const Json env = row.value("env", Json::object());
    for (const auto& [name, value] : env.items()) call.extra[name] = value.is_null() ? "" : value.get<std::string>();
    if (row.contains("through")) call.through = row["through"].get<std::vector<std::string>>();
    if (row.contains("do")) {
      const Outcome done = run({"sh", "-ec", "BOX=box-vm-1; " + row["do"].get<std::string>()});
      if (!done.ok()) return "its \"do\" failed: " + done.err;
    }
    if (row.contains("do") || before_.empty()) {
      before_ = footprint(boxes_);
      bystander_was_well_ = bystander().empty();
      if (!row.contains("do")) quick_ = quick_print(boxes_);
    }
    conf_ = conf;
    call_ = call;
    stage_.distort(distortion);
    answer_ = stage_.run(stdin_of(row, conf), call);
    stage_.distort({});
    return judge(row);
  }

  /// What is left that should not be, or gone that should be there.
  std::string traces_of(const Json& row, bool is_alone) {
    const bool done = answer_.ok();
    std::string wrong;
    if (verb_ == "DEL" && done && succeeds(row, verb_) && !row.contains("env")) {
      if (makes_interface(stage_.subject()) && !row.contains("do") && stage_.has_interface()) wrong += "tap0 is left; ";
      if (*stage_.subject().behind == '\0' && Stage::has_lease()) wrong += "the address is left; ";
    }
    if (verb_ == "ADD" && done) {
      Call del = call_;
      del.through.clear();
      del.extra["CNI_COMMAND"] = "DEL";
      const Answer deleted = stage_.run(conf_, del);
      if (!deleted.ok()) wrong += "DEL after it failed: " + deleted.text();
    }
    const bool is_removal = (verb_ == "DEL" || verb_ == "GC") && done;
    const std::string left =
        difference(is_alone ? before_ : quick_, is_alone ? footprint(boxes_) : quick_print(boxes_));
    if (!is_removal && !left.empty() && !row.contains("changes")) wrong += "it changed\n" + left;
    return wrong;
  }

  /// What all rows together changed.
  std::string traces_of_all() { return difference(before_, footprint(boxes_)); }

  /// What is wrong with the bystander, that was not before the call.
  std::string harm_to_bystander() { return bystander_was_well_ ? bystander() : ""; }

 private:
  std::string judge(const Json& row) const {
    const std::string got = answer_.text();
    if (answer_.exit_code == 137) return "it hangs: " + got;
    if (answer_.exit_code >= 126) return "it crashed: " + got;
    const int due = code_of(row, verb_);
    if (due == 0) return answer_.ok() ? "" : "an error: " + got;
    if (!answer_.json.is_object() || answer_.ok()) return "no error: " + got;
    if (answer_.code() != due) return "another code than " + std::to_string(due) + ": " + got;
    const std::string word = row.value("word", "");
    if (answer_.msg().find(word) == std::string::npos) return "the message does not name '" + word + "': " + got;
    return {};
  }

  /// Empty when CHECK of the bystander succeeds.
  std::string bystander() {
    const Answer answer = stage_.run(stage_.conf_with(result_, kNewest, kBystander), stage_.call("CHECK", kBystander));
    return answer.ok() ? "" : "CHECK of the bystander failed: " + answer.text();
  }

  Verdict verdict_;
  Stage stage_;
  std::string verb_;
  Json own_;
  Json result_;
  bool bystander_was_well_ = false;
  std::vector<std::string> boxes_;
  std::string before_;
  std::string quick_;
  Json conf_;
  Call call_;
  Answer answer_;
};

void report(const Subject& subject, const std::string& verb, const Json& row, const std::string& wrong) {
  if (!wrong.empty())
    FAIL_CHECK(std::string(subject.name) << " " << verb << ": " << row["what"].get<std::string>() << ": " << wrong);
}

/// Rows that change nothing share a host; each other has its own.
int try_rows(const Subject& subject, const std::string& verb, const Json& rows) {
  int tried = 0;
  std::unique_ptr<Scene> shared;
  for (const Json& row : rows) {
    if (!is_about(row, subject) || !has_verb(row, verb)) continue;
    ++tried;
    const bool alone = is_alone(row, verb);
    std::unique_ptr<Scene> own = alone ? std::make_unique<Scene>(subject, verb) : nullptr;
    if (!alone && shared == nullptr) shared = std::make_unique<Scene>(subject, verb);
    Scene& scene = alone ? *own : *shared;
    report(subject, verb, row, scene.answer_to(row));
    report(subject, verb, row, scene.traces_of(row, alone));
    if (alone) report(subject, verb, row, scene.harm_to_bystander());
  }
  if (shared != nullptr) {
    const Json all = {{"what", "one of the rows that change nothing"}};
    report(subject, verb, all, shared->traces_of_all());
    report(subject, verb, all, shared->harm_to_bystander());
  }
  return tried;
}

void try_all(const std::string& kind, const std::vector<const char*>& names = {}) {
  const Json rows = table(kind);
  int tried = 0;
  for (const Subject& each : subjects()) {
    if (*each.variant != '\0') continue;  // the rows are about what the binaries read
    if (!names.empty() && std::ranges::find(names, std::string(each.name)) == names.end()) continue;
    for (const char* verb : {"ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION"}) tried += try_rows(each, verb, rows);
  }
  MESSAGE(kind << ": " << tried << " calls");
  CHECK(tried > 0);
}

}  // namespace

// The tables prove something only when what is wrong is seen.
TEST_CASE("bad input: a plugin that takes it, crashes, says nothing of it or leaves something is found out") {
  const Subject& bridge = subject("slicer-bridge");
  const Json row = {{"what", "a row"}, {"set", {{"/ipam/subnet", "x"}}}, {"code", 7}, {"word", "subnet"}};
  const std::string mended = R"(in:/ipam/subnet="192.0.2.0/24")";
  const std::string lies = R"( & out:/code=7 & out:/msg="subnet" & exit=1)";
  Scene scene(bridge, "ADD");
  CHECK(scene.answer_to(row).empty());
  CHECK(scene.traces_of(row, true).empty());
  CHECK(scene.answer_to(row, "skip").starts_with("no error"));
  CHECK(scene.answer_to(row, "exit=139").starts_with("it crashed"));
  CHECK(scene.answer_to(row, "exit=137").starts_with("it hangs"));
  CHECK(scene.answer_to(row, "out:/code=6").starts_with("another code"));
  CHECK(scene.answer_to(row, R"(out:/msg="bad")").starts_with("the message does not name"));
  CHECK(scene.answer_to(row, mended + lies).empty());
  CHECK(scene.traces_of(row, true).find("tap0") != std::string::npos);
  CHECK(scene.traces_of(row, false).find("tap0") != std::string::npos);
  Scene ending(bridge, "DEL");
  CHECK(ending.answer_to({{"what", "the other's end"}, {"code", 0}}, "env:CNI_CONTAINERID=vm-9").empty());
  CHECK(ending.traces_of({{"what", "the other's end"}, {"code", 0}}, true).find("is left") != std::string::npos);
  CHECK_FALSE(ending.harm_to_bystander().empty());
}

TEST_CASE("bad input: environment") { try_all("environment"); }
TEST_CASE("bad input: configuration") { try_all("configuration"); }
TEST_CASE("bad input: prevResult") { try_all("prev_result"); }
TEST_CASE("bad input: files") { try_all("files"); }
TEST_CASE("bad input: kernel") { try_all("kernel"); }

}  // namespace slicer::test::conformance
