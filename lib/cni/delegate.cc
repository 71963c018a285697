#include "lib/cni/delegate.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <string_view>

#include "lib/cni/exec.h"
#include "lib/cni/result_versions.h"

extern char** environ;

namespace slicer::cni {
namespace {

// CNI_ARGS as this process got it, whose order and repeats the parsed form does not have.
std::string args_of(const Request& request) {
  if (const char* text = std::getenv("CNI_ARGS"); text != nullptr) return text;
  std::string text;
  for (const auto& [key, value] : request.env.args) text += (text.empty() ? "" : ";") + key + "=" + value;
  return text;
}

// All that this process was called with (SPEC.md, section 4), variables that we do not know included; what the call is
// about is the request's.
std::vector<std::string> delegate_environment(const Request& request, const DelegateCall& call) {
  std::string path;
  for (const std::string& folder : request.env.path) path += (path.empty() ? "" : ":") + folder;
  // What we accept, the host's namespace, a delegate built on libcni's skeleton refuses without this word.
  const bool netns_override = call.netns_override || request.env.netns_override || request.host_netns;
  const std::map<std::string_view, std::string> own = {{"CNI_COMMAND", command_name(call.command)},
                                                       {"CNI_CONTAINERID", request.env.container_id},
                                                       {"CNI_NETNS", request.env.netns},
                                                       {"CNI_IFNAME", request.env.ifname},
                                                       {"CNI_ARGS", args_of(request)},
                                                       {"CNI_PATH", path},
                                                       {"CNI_NETNS_OVERRIDE", netns_override ? "1" : ""}};
  std::vector<std::string> list;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!own.contains(text.substr(0, text.find('=')))) list.emplace_back(text);
  }
  for (const auto& [name, value] : own)
    if (!value.empty()) list.push_back(std::string(name) + "=" + value);
  return list;
}

}  // namespace

Result<std::string> find_plugin(const std::string& type, const std::vector<std::string>& path) {
  // It would call itself with the same configuration, which names itself again, and so on.
  if (type == program_invocation_short_name)
    return fail(Kind::kInvalidConfig, "find plugin '" + type + "': it is this plugin itself",
                "name another plugin in \"type\" of \"ipam\"");
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
