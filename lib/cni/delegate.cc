#include "lib/cni/delegate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "lib/cni/exec.h"
#include "lib/cni/result_versions.h"

extern char** environ;

namespace slicer::cni {
namespace {

std::vector<std::string> delegate_environment(const Request& request, const DelegateCall& call) {
  std::vector<std::string> list;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, "CNI_", 4) != 0) list.emplace_back(*entry);
  const auto add = [&list](const char* name, const std::string& value) {
    if (!value.empty()) list.push_back(std::string(name) + "=" + value);
  };
  const auto join = [](std::string& text, const std::string& part, char separator) {
    if (!text.empty()) text += separator;
    text += part;
  };
  std::string args;
  for (const auto& [key, value] : request.env.args) join(args, key + "=" + value, ';');
  std::string path;
  for (const std::string& folder : request.env.path) join(path, folder, ':');
  add("CNI_COMMAND", command_name(call.command));
  add("CNI_CONTAINERID", request.env.container_id);
  add("CNI_NETNS", request.env.netns);
  add("CNI_IFNAME", request.env.ifname);
  add("CNI_ARGS", args);
  add("CNI_PATH", path);
  // What we accept, the host's namespace, a delegate built on libcni's skeleton refuses without this word.
  const bool netns_override = call.netns_override || request.env.netns_override || request.host_netns;
  add("CNI_NETNS_OVERRIDE", netns_override ? "1" : "");
  return list;
}

}  // namespace

Result<std::string> find_plugin(const std::string& type, const std::vector<std::string>& path) {
  if (type.empty() || type == "." || type == ".." || type.find('/') != std::string::npos)
    return fail(Kind::kInvalidConfig, "find plugin '" + type + "': not a plugin's file name");
  std::string searched;
  for (const std::string& folder : path) {
    std::string file = folder + "/" + type;
    struct stat there{};
    if (stat(file.c_str(), &there) == 0 && S_ISREG(there.st_mode) && access(file.c_str(), X_OK) == 0) return file;
    searched += (searched.empty() ? "" : ":") + folder;
  }
  return fail(Kind::kNotFound, "find plugin '" + type + "' in '" + searched + "': no such executable file",
              "install it there, or name its folder in CNI_PATH");
}

Result<std::string> call_delegate(const Request& request, const DelegateCall& call) {
  const std::string file = TRY(find_plugin(call.type, request.env.path));
  const Program program{
      .file = file, .environment = delegate_environment(request, call), .input = dump_json(request.conf.raw)};
  return checked_output(TRY(run_program(program).context("run '" + call.type + "'")), call.type);
}

Result<CniResult> delegate_add(const Request& request, const std::string& type) {
  const std::string output = TRY(call_delegate(request, {.type = type, .command = Command::kAdd}));
  const Json json = TRY(parse_json(output).context("read result of '" + type + "'"));
  return parse_result(json, request.conf.cni_version).context("read result of '" + type + "'");
}

}  // namespace slicer::cni
