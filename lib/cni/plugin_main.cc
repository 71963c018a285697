#include "lib/cni/plugin_main.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>

#include "lib/base/log.h"
#include "lib/base/whole_file.h"
#include "lib/cni/error.h"
#include "lib/cni/netns_path.h"
#include "lib/cni/result_versions.h"

namespace slicer::cni {
namespace {

constexpr size_t kConfigLimit = size_t{1} << 20;

// What is known of the call so far, for the error object and for taking an ADD back.
struct Call {
  std::string version = "1.1.0";
  Request request = {};
  bool added = false;
};

Result<void> write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail(Kind::kIo, "write output: " + errno_text(errno));
    text.remove_prefix(static_cast<size_t>(count));
  }
  return {};
}

std::string joined_versions(const char* separator) {
  std::string list;
  for (const std::string_view version : supported_versions())
    list.append(list.empty() ? "" : separator).append(version);
  return list;
}

// What stands on stdin, as far as it comes in time: VERSION must not wait for one who has nothing to say, as a terminal
// or a pipe that somebody forgot to close.
std::string input_at_hand(int fd) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kPatience = std::chrono::seconds(1);
  std::string text;
  if (fd < 0 || isatty(fd) == 1) return text;
  for (const auto end = Clock::now() + kPatience; text.size() < kConfigLimit;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd input{fd, POLLIN, 0};
    if (left <= 0 || poll(&input, 1, static_cast<int>(left)) <= 0) break;
    std::array<char, 4096> part{};
    const ssize_t count = read(fd, part.data(), part.size());
    if (count <= 0) break;
    text.append(part.data(), static_cast<size_t>(count));
  }
  return text;
}

// The version that the caller speaks (SPEC.md, "VERSION Success"); the newest when it does not say, or says none of
// ours.
std::string version_output(int in) {
  std::string_view version = supported_versions().back();
  const Result<Json> json = parse_json(input_at_hand(in));
  if (json && json->is_object() && json->contains("cniVersion"))
    for (const std::string_view each : supported_versions())
      if ((*json)["cniVersion"] == each) version = each;
  return R"({"cniVersion":")" + std::string(version) + R"(","supportedVersions":[")" + joined_versions(R"(",")") +
         "\"]}\n";
}

std::string about_text(const Plugin& plugin) {
  return std::string(plugin.name) + " " + SLICER_VERSION + ": " + plugin.about +
         "\nA CNI plugin: started by a container runtime, which sets CNI_COMMAND and writes a configuration to stdin\n"
         "CNI protocol versions supported: " +
         joined_versions(", ") + "\n";
}

// The first version whose configurations may ask for the verb. Source: SPEC.md's history; libcni's pkg/skel.
std::string_view first_version(Command command) {
  if (command == Command::kCheck) return "0.4.0";
  if (command == Command::kGc || command == Command::kStatus) return "1.1.0";
  return "0.1.0";
}

Result<void> check_verb_version(Command command, const std::string& version) {
  const std::string_view first = first_version(command);
  if (version_at_least(version, first)) return {};
  return fail(Kind::kUnsupportedVersion, "\"cniVersion\": " + version + " has no " + command_name(command),
              "use \"cniVersion\" " + std::string(first) + " or newer");
}

// A namespace must be there for ADD and CHECK; DEL cleans up what it can reach without one.
Result<void> check_netns(const Plugin& plugin, Request& request) {
  const Environment& env = request.env;
  const bool strict = env.command == Command::kAdd || env.command == Command::kCheck;
  if (!plugin.needs_netns || (!strict && env.command != Command::kDel) || env.netns.empty()) return {};
  Result<NetnsPath> kind = inspect_netns(env.netns);
  if (!kind && !strict) {
    log_line(kind.error().message + ", ignoring");
    return {};
  }
  const NetnsPath netns = TRY(std::move(kind));
  request.host_netns = netns == NetnsPath::kHost;
  request.netns_present = request.host_netns || netns == NetnsPath::kPrivate;
  if (!strict) return {};
  if (!request.netns_present)
    return fail(Kind::kInvalidEnvironment,
                "CNI_NETNS: '" + env.netns + "' " +
                    (netns == NetnsPath::kAbsent ? "does not exist" : "is not a network namespace"),
                "make the network namespace before the call");
  if (request.host_netns && !env.netns_override && plugin.accepts_host_netns != nullptr &&
      !plugin.accepts_host_netns(request))
    return fail(Kind::kHostNetns, "CNI_NETNS: '" + env.netns + "' is the host's own network namespace",
                "give the attachment a namespace of its own");
  return {};
}

Result<std::string> run_add(const Plugin& plugin, Call& call) {
  const CniResult result = TRY(plugin.add(call.request));
  call.added = true;
  return dump_json(TRY(result_json(result, call.request.conf.cni_version))) + "\n";
}

Result<std::string> run_verb(const Plugin& plugin, Call& call) {
  switch (call.request.env.command) {
    case Command::kAdd:
      return run_add(plugin, call);
    case Command::kDel:
      TRY(plugin.del(call.request));
      return "";
    case Command::kCheck:
      TRY(plugin.check(call.request));
      return "";
    case Command::kGc:
      TRY(plugin.gc(call.request));
      return "";
    case Command::kStatus:
      TRY(plugin.status(call.request));
      return "";
    case Command::kVersion:
      break;
  }
  return "";
}

Result<std::string> run(const Process& process, const Plugin& plugin, Call& call) {
  call.request.env = TRY(read_environment(process.getenv));
  const Command command = call.request.env.command;
  if (command == Command::kVersion) return version_output(process.in);
  const std::string text = TRY(read_fd(process.in, kConfigLimit).context("read configuration from stdin"));
  Json json = TRY(parse_json(text).context("read configuration"));
  if (const std::string version = declared_version(json); is_supported(version)) call.version = version;
  call.request.conf = TRY(read_net_conf(std::move(json), command));
  TRY(check_verb_version(command, call.request.conf.cni_version));
  TRY(check_netns(plugin, call.request));
  return run_verb(plugin, call);
}

// An ADD whose result nobody got is taken back.
void take_back(const Plugin& plugin, Call& call) {
  if (!call.added) return;
  call.added = false;
  if (const Result<void> done = plugin.del(call.request); !done)
    log_line("take ADD back: " + done.error().message + ", ignoring");
}

int report(const Process& process, const Error& error, const std::string& version) {
  if (const Result<void> done = write_all(process.out, dump_json(error_json(error, version)) + "\n"); !done)
    log_line(error.message + "; " + done.error().message);
  return 1;
}

int finish(const Process& process, const Plugin& plugin, Call& call, const Result<std::string>& output) {
  if (!output) {
    take_back(plugin, call);
    return report(process, output.error(), call.version);
  }
  const Result<void> written = write_all(process.out, *output);
  if (written) return 0;
  log_line(written.error().message);
  take_back(plugin, call);
  return 1;
}

// A closed descriptor 0-2 would be the number of the next socket, and a result would be written into it. The holes are
// filled so that reading or writing them still fails.
void keep_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (fcntl(fd, F_GETFD) < 0) (void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);  // lowest: fd itself
}

}  // namespace

Process Process::real() {
  keep_standard_descriptors();
  return {.getenv = [](const char* name) -> std::optional<std::string> {
    const char* value = std::getenv(name);
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  }};
}

int plugin_main(const Process& process, const Plugin& plugin) {
  // A runtime that closed its end must not kill an ADD before it is taken back.
  (void)signal(SIGPIPE, SIG_IGN);
  (void)signal(SIGXFSZ, SIG_IGN);  // a file too large for the caller's limit is an error of write(2), too
  Call call;
  try {
    if (process.getenv("CNI_COMMAND").value_or("").empty()) {
      (void)write_all(process.err, about_text(plugin));  // nowhere left to report to
      return 0;
    }
    return finish(process, plugin, call, run(process, plugin, call));
  } catch (const std::exception& error) {
    return report(process, {.message = std::string("unexpected failure: ") + error.what()}, call.version);
  } catch (...) {
    return report(process, {.message = "unexpected failure"}, call.version);
  }
}

}  // namespace slicer::cni
