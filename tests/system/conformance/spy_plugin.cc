// A plugin that writes down how it was called, and answers what its configuration tells it to: under "spy", of the
// "ipam" section where there is one in it, else of the whole:
//
//   "result": {…}                      of ADD; without it the prevResult
//   "fail": {"VERB": {"code", "msg"}}  the error of that verb
//   "say": "text"                      goes to stderr
//
// Its calls are lines of the file `log` in the folder that it was started from.
#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <string>

#include "lib/base/whole_file.h"
#include "lib/cni/json.h"

extern char** environ;

namespace {

using slicer::cni::Json;

std::string netns() {
  std::array<char, 64> link{};
  const ssize_t size = readlink("/proc/self/ns/net", link.data(), link.size());
  return size > 0 ? std::string(link.data(), static_cast<size_t>(size)) : "";
}

void write_down(const std::string& self, const Json& environment, const Json& conf) {
  const size_t slash = self.rfind('/');
  const std::string line = Json{{"plugin", self.substr(slash + 1)},
                                {"command", environment.value("CNI_COMMAND", "")},
                                {"env", environment},
                                {"conf", conf},
                                {"netns", netns()},
                                {"namespace_is_there", access(environment.value("CNI_NETNS", "").c_str(), F_OK) == 0}}
                               .dump() +
                           "\n";
  const int log = open((self.substr(0, slash) + "/log").c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  (void)!write(log, line.data(), line.size());
}

Json answer(const std::string& verb, const Json& conf, const Json& spy) {
  if (verb == "VERSION")
    return {{"cniVersion", "1.1.0"},
            {"supportedVersions", {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"}}};
  if (verb != "ADD") return nullptr;
  Json result = spy.contains("result") ? spy["result"] : conf.value("prevResult", Json::object());
  result["cniVersion"] = conf.value("cniVersion", "");
  return result;
}

}  // namespace

int main(int /*argc*/, char** argv) {
  Json environment = Json::object();
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const char* equals = std::strchr(*entry, '=');
    if (equals != nullptr) environment[std::string(*entry, static_cast<size_t>(equals - *entry))] = equals + 1;
  }
  const Json conf = Json::parse(slicer::read_fd(STDIN_FILENO, size_t{16} << 20).value_or(""), nullptr, false);
  write_down(argv[0], environment, conf.is_discarded() ? Json() : conf);
  const Json none = Json::object();
  const Json& ipam = conf.is_object() && conf.contains("ipam") ? conf["ipam"] : none;
  const Json& owner = ipam.contains("spy") ? ipam : conf;
  const Json& spy = owner.is_object() && owner.contains("spy") ? owner["spy"] : none;
  const std::string verb = environment.value("CNI_COMMAND", "");
  if (spy.contains("say")) (void)std::fputs(spy["say"].get<std::string>().c_str(), stderr);
  if (spy.contains("fail") && spy["fail"].contains(verb)) {
    (void)std::puts(spy["fail"][verb].dump().c_str());
    return 1;
  }
  if (const Json output = answer(verb, conf, spy); !output.is_null()) (void)std::puts(output.dump().c_str());
  return 0;
}
