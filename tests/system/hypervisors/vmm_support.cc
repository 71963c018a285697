#include "tests/system/hypervisors/vmm_support.h"

#include <sys/mount.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runner/hypervisor/accelerator.h"
#include "tests/system/hypervisors/stand_in_version.h"

namespace slicer::test {
void pretend_vmx() {
  write_text("/run/cpuinfo", "flags\t\t: fpu vmx svm\n");
  if (mount("/run/cpuinfo", "/proc/cpuinfo", nullptr, MS_BIND, nullptr) != 0) give_up("bind /proc/cpuinfo");
}

void install_stand_in(const std::string& stand_in, const std::string& path, const std::string& version) {
  std::filesystem::copy(Runner::plugin_dir() + "/" + stand_in, path, std::filesystem::copy_options::overwrite_existing);
  std::ofstream(path, std::ios::app | std::ios::binary) << kVersionMark << version;
}

void VmmHost::install(const std::string& firecracker, const std::string& cloud_hypervisor) {
  std::string path;
  for (const auto& [name, version] :
       {std::pair<std::string, std::string>{"firecracker", firecracker}, {"cloud-hypervisor", cloud_hypervisor}}) {
    const std::string folder = "/run/vmm/" + name;
    std::filesystem::create_directories(folder);
    install_stand_in("stand_in_vmm", folder + "/" + name, version);
    path += folder + ":";
  }
  if (const std::string old = std::getenv("PATH"); !old.starts_with(path))
    if (setenv("PATH", (path + old).c_str(), 1) != 0) give_up("setenv PATH");
  if (!exists(kKernel)) pretend_vmx();
  write_text(kKernel, std::string("\x7f"
                                  "ELF") +
                          std::string(64, '\0'));
}

std::string VmmHost::missing() {
  const Host host;
  pretend_vmx();
  return runner::why_no_kvm(runner::probe_kvm());
}

Outcome VmmHost::start(const std::string& vmm, const std::string& network, const std::string& words,
                       const std::string& more) {
  std::vector<std::string> argv = Runner::argv("vm new v --network " + network + " --ram-mb 64 --kernel " + kKernel +
                                               " --hypervisor " + vmm + " " + more);
  argv.insert(argv.end(), {"--cmdline", words.empty() ? "quiet" : "quiet " + words});
  return run(argv, {.deadline = std::chrono::seconds(60)});
}

void put_network(const std::string& name, const Json& plugin) {
  std::ofstream("/etc/cni/net.d/" + name + ".conflist")
      << Json{{"cniVersion", "1.0.0"}, {"name", name}, {"plugins", {plugin}}}.dump();
}

std::string address_of_vm() {
  const std::string cidr = Runner::vm("v")["addresses"][0];
  return cidr.substr(0, cidr.find('/'));
}

std::string VmmHost::leftovers() {
  std::string found;
  if (exists("/run/slicer/v")) found += "/run/slicer/v\n";
  if (exists("/run/netns/slicer-v")) found += "/run/netns/slicer-v\n";
  found += run({"sh", "-c", "ip -o link | grep -o 'vmtap[0-9]*'"}).out;
  found +=
      run({"sh", "-c",  // a jail's first process, of this case's network namespace
           "for p in /proc/[0-9]*; do [ \"$(cat $p/comm)\" = slicer-jail ] && [ $p/ns/net -ef /proc/self/ns/net ] && "
           "grep -q State:.[^Z] $p/status && echo $p; done"})
          .out;
  for (const std::string& name : kVmms)  // this case's own: others run programs of that path beside it
    found += run({"sh", "-c",
                  "for p in /proc/[0-9]*; do [ $p/exe -ef /run/vmm/" + name + "/" + name +
                      " ] && grep -q State:.[^Z] $p/status && echo $p; done"})
                 .out;
  return found;
}

}  // namespace slicer::test
