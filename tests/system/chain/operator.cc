#include "tests/system/chain/operator.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "lib/base/whole_file.h"
#include "runner/state/process_id.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_record.h"

namespace slicer::test {
namespace {

constexpr const char* kFolder = "/etc/cni/net.d";

chain::Conflist load(const std::string& name) {
  Result<chain::Conflist> network = chain::load_network(kFolder, name);
  if (!network) give_up(network.error().message);
  return std::move(*network);
}

}  // namespace

Json network_list(const std::string& name, const std::string& bridge, const std::string& subnet) {
  Json list = {{"cniVersion", "1.0.0"},
               {"cniVersions", {"1.0.0", "1.1.0"}},
               {"name", name},
               {"disableGC", true},
               {"netns", "host"},
               {"plugins",
                {{{"type", "slicer-bridge"},
                  {"bridge", bridge},
                  {"isGateway", true},
                  {"ipMasq", true},
                  {"ipam", {{"type", "slicer-ipam"}, {"subnet", subnet}, {"routes", {{{"dst", "0.0.0.0/0"}}}}}}},
                 {{"type", "slicer-firewall"}}}}};
  // The backend that the case runs for (tests/system/CMakeLists.txt: BOTH_BACKENDS).
  if (const char* backend = getenv("SLICER_BACKEND"); backend != nullptr)
    list["plugins"][0]["ipMasqBackend"] = list["plugins"][1]["backend"] = backend;
  return list;
}

void write_text(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream file(path);
  file << text;
  if (!file.flush()) give_up("write " + path);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_list(const std::string& file, const Json& list) {
  write_text(std::string(kFolder) + "/" + file, list.dump());
}

Outcome slicer_run(const std::vector<std::string>& words) {
  std::vector<std::string> argv = {bin_dir() + "/slicer-run"};
  argv.insert(argv.end(), words.begin(), words.end());
  return run(argv, {.env = {{{"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}, {"CNI_PATH", bin_dir()}}}});
}

chain::AttachmentConf attachment_of(const Vm& vm) {
  chain::AttachmentConf conf{.container_id = vm.name, .netns = "/proc/self/ns/net", .ifname = vm.tap};
  conf.args = {{"IgnoreUnknown", "1"}};
  if (vm.marked) conf.args.emplace_back(chain::kVmArg, vm.name);
  return conf;
}

chain::Runtime runtime() { return chain::Runtime({.path = {bin_dir()}}); }

void attach(const Vm& vm) {
  const auto result = runtime().add(load(vm.network), attachment_of(vm));
  if (!result) give_up(result.error().message);
}

void detach(const Vm& vm) {
  const auto done = runtime().del(load(vm.network), attachment_of(vm));
  if (!done) give_up(done.error().message);
}

void attach_with_record(const Vm& vm, bool alive) {
  attach(vm);
  const runner::Settings settings;
  const chain::AttachmentConf conf = attachment_of(vm);
  runner::VmRecord record{.name = vm.name, .phase = runner::Phase::kRunning, .network = vm.network};
  record.supervisor = alive ? runner::identify_process(getpid()).value() : runner::ProcessId{.pid = 1, .start_time = 1};
  record.conflist = load(vm.network).bytes;
  record.conf_dir = kFolder;
  record.cni_path = {bin_dir()};
  record.cache_dir = settings.cache_dir;
  record.cni_args = conf.args;
  record.placement = runner::Placement::kHost;
  record.netns = conf.netns;
  record.ifname = conf.ifname;
  record.attached = true;
  const runner::VmFiles files = runner::vm_files(settings, vm.name);
  if (!ensure_directory(files.folder, 0700) || !write_whole_file(files.lock, "") ||
      !runner::save_record(settings, record))
    give_up("write the record of " + vm.name);
}

}  // namespace slicer::test
