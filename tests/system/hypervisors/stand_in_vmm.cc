// Stands in for Firecracker and Cloud Hypervisor, by the name it is called by: takes their command line, checks the
// configuration against their published schemas, opens the TAP as they do, answers on their API's socket and speaks on
// the serial line; behind it all is a guest of a few lines (guest_stub.h). The version is at the end of the program's
// file (stand_in_version.h). In a jail, which has no /proc, it looks whether the jail is one.
//   Typed on the serial line: "q" ends it, "x" ends it with code 1, all else is echoed.
//   In the kernel's command line: "refuse" (its configuration), "hang" (no API), "deaf" (no shutdown but SIGKILL),
//   "crash" (once the TAP is open), "dies-soon" (SIGABRT when something is typed), "silent" (an API that accepts only).
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>

#include "tests/system/hypervisors/guest_stub.h"
#include "tests/system/hypervisors/schema.h"
#include "tests/system/hypervisors/stand_in_version.h"

namespace slicer::test {
namespace {

using cni::Json;

[[noreturn]] void give_up(const std::string& why, int code = 1) {
  (void)std::fprintf(stderr, "Error: %s\n", why.c_str());
  _exit(code);
}
[[noreturn]] void give_up_errno(const std::string& what) { give_up(what + ": " + strerror(errno)); }

// The number that a text begins with; 0: none.
int number(const std::string& text) {
  int value = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) give_up_errno("open " + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// What both have in common once their command lines are read.
struct Vmm {
  bool firecracker = false;
  std::string cmdline = {};
  std::string mac = {};
  int tap = -1;
  int api = -1;
  int vsock = -1;  ///< of Firecracker's alone
  bool reads_input = true;

  [[nodiscard]] bool told(std::string_view word) const {
    return (" " + cmdline + " ").find(" " + std::string(word) + " ") != std::string::npos;
  }
};

// The real ones are started so that they cannot do harm; one that could is not tested.
void check_confined(bool jailed) {
  if (getuid() == 0 || geteuid() == 0 || getgid() == 0) give_up("runs as root");
  if (getgroups(0, nullptr) != 0 && jailed) give_up("has supplementary groups");
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> sets = {};
  if (syscall(SYS_capget, &header, sets.data()) != 0) give_up_errno("capget");
  for (const __user_cap_data_struct& set : sets)
    if ((set.effective | set.permitted | set.inheritable) != 0) give_up("has capabilities");
  for (unsigned long capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; ++capability)
    if (!jailed && prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1) give_up("could gain capabilities");
  if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) give_up("could gain privileges");
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  if (kvm < 0) give_up_errno("open /dev/kvm");
  (void)close(kvm);
}

// What the jailer and its supervisor leave of the host.
void check_jail() {
  for (const char* path : {"/proc", "/sys/class", "/etc", "/usr", "/run/slicer", "/old_root"})
    if (access(path, F_OK) == 0) give_up(std::string("the jail has ") + path);
  for (int fd = 3; fd < 64; ++fd)
    if (fcntl(fd, F_GETFD) >= 0) give_up("has descriptor " + std::to_string(fd));
  if (environ != nullptr && *environ != nullptr) give_up("has an environment");
  if (kill(1, 0) == 0 || errno != EPERM) give_up("process 1 of its namespace is not another's");
}

void check_kernel(const std::string& path) {
  if (!contents(path).starts_with("\x7f"
                                  "ELF"))
    give_up("Cannot load kernel due to invalid memory configuration or invalid kernel image");
}

void check_disk(const std::string& path, bool read_only) {
  const int fd = open(path.c_str(), (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
  if (fd < 0) give_up_errno("open disk " + path);
  (void)close(fd);
}

// Firecracker: src/vmm/src/devices/virtio/net/tap.rs, open_named().
int open_tap(const std::string& name) {
  const int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) give_up_errno("open /dev/net/tun");
  ifreq request = {};
  (void)std::snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name.c_str());
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (ioctl(fd, TUNSETIFF, &request) != 0) give_up_errno("Open tap device failed: " + name);
  return fd;
}

// Both: offloads as a guest without any would want them, and the header of virtio 1.
void prepare_tap(int fd) {
  if (ioctl(fd, TUNSETOFFLOAD, 0) != 0) give_up_errno("TUNSETOFFLOAD");
  int size = 12;
  if (ioctl(fd, TUNSETVNETHDRSZ, &size) != 0) give_up_errno("TUNSETVNETHDRSZ");
}

// Cloud Hypervisor: net_util/src/tap.rs, from_tap_fd() and mtu(): by the device's name, where it runs.
void check_tap_by_descriptor(int fd) {
  ifreq request = {};
  if (ioctl(fd, TUNGETIFF, &request) != 0) give_up_errno("TUNGETIFF");
  const int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (ioctl(socket, SIOCGIFMTU, &request) != 0) give_up_errno("SIOCGIFMTU");
  (void)close(socket);
  (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

// A log that is a file would grow for ever.
void check_log(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0 || !S_ISCHR(info.st_mode)) give_up("no device to log to: " + path);
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) give_up_errno("open " + path);
  (void)close(fd);
}

int listen_at(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  (void)std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 || listen(fd, 8) != 0)
    give_up_errno("Failed to open the API socket at: " + path);
  return fd;
}

/// "--name value…" in order; a name that is not in `known` is an error, as is one that comes twice.
std::map<std::string, std::vector<std::string>> read_options(int argc, char** argv,
                                                             const std::vector<std::string>& known) {
  std::map<std::string, std::vector<std::string>> options;
  std::string name;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (!word.starts_with("--")) {
      if (name.empty()) give_up("unexpected argument '" + word + "'", 153);
      options[name].push_back(word);
      continue;
    }
    name = word.substr(2);
    if (std::ranges::find(known, name) == known.end())
      give_up("Found argument '" + name + "' which wasn't expected", 153);
    if (options.contains(name)) give_up("The argument '" + name + "' was provided more than once", 153);
    options[name] = {};
  }
  return options;
}

using Options = std::map<std::string, std::vector<std::string>>;
const std::string& one(const Options& options, const std::string& name) {
  const auto found = options.find(name);
  if (found == options.end() || found->second.size() != 1) give_up("--" + name + " needs one value", 153);
  return found->second.front();
}

Vmm start_firecracker(int argc, char** argv, const std::string& version) {
  const Options options = read_options(argc, argv,
                                       {"api-sock", "id", "config-file", "log-path", "level", "no-api", "enable-pci",
                                        "start-time-us", "start-time-cpu-us", "parent-cpu-time-us"});
  if (options.contains("start-time-us")) check_jail();  // the jailer's
  check_log(one(options, "log-path"));
  const std::string& id = one(options, "id");
  if (id.size() > 64 || !std::ranges::all_of(id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; }))
    give_up("Invalid instance ID: " + id);
  const Json config = Json::parse(contents(one(options, "config-file")), nullptr, false);
  const unsigned minor = static_cast<unsigned>(number(version.substr(version.find('.') + 1)));
  Vmm vmm;
  vmm.firecracker = true;
  vmm.cmdline = config.value("boot-source", Json::object()).value("boot_args", "");
  if (!vmm.told("hang")) vmm.api = listen_at(one(options, "api-sock"));  // the real one does so before it reads on
  const std::string bad = vmm.told("refuse") ? "told to" : check_firecracker_config(config, minor);
  if (!bad.empty()) give_up("RunWithApi(BuildFromJson(InvalidJson(" + bad + ")))", 152);
  check_kernel(config["boot-source"]["kernel_image_path"]);
  if (config["boot-source"].contains("initrd_path")) (void)contents(config["boot-source"]["initrd_path"]);
  for (const Json& drive : config["drives"]) check_disk(drive["path_on_host"], drive["is_read_only"]);
  if (config.contains("vsock")) vmm.vsock = listen_at(config["vsock"]["uds_path"]);
  const Json& interface = config["network-interfaces"][0];
  vmm.mac = interface.value("guest_mac", "");
  vmm.tap = open_tap(interface["host_dev_name"]);
  if (isatty(STDIN_FILENO) == 0 || isatty(STDOUT_FILENO) == 0) give_up("no terminal");
  (void)fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  if ((fcntl(STDOUT_FILENO, F_GETFL) & O_NONBLOCK) != 0) give_up("stdout is stdin's description: output would be lost");
  return vmm;
}

Vmm start_cloud_hypervisor(int argc, char** argv, const std::string& version) {
  const Options options = read_options(argc, argv,
                                       {"api-socket", "cpus", "memory", "kernel", "initramfs", "cmdline", "serial",
                                        "console", "seccomp", "rng", "net", "disk", "landlock"});
  const int major = number(version);
  const auto check = [](const std::string& text, const std::vector<OptionKey>& keys) {
    if (const std::string bad = check_option(text, keys); !bad.empty()) give_up("Error parsing config: " + bad);
  };
  if (options.contains("landlock") && major < 41) give_up("unexpected argument '--landlock' found", 2);
  check(one(options, "cpus"), {{"boot", true}, {"max"}});
  check(one(options, "memory"), {{"size", true}});
  if (one(options, "serial") != "tty" || one(options, "console") != "off")
    give_up("this stand-in has a serial line only");
  if (one(options, "seccomp") != "true") give_up("the seccomp filters are off");
  Vmm vmm;
  vmm.cmdline = one(options, "cmdline");
  if (vmm.told("refuse")) give_up("Error parsing config: told to");
  check_kernel(one(options, "kernel"));
  if (options.contains("initramfs")) (void)contents(one(options, "initramfs"));
  if (options.contains("disk"))
    for (const std::string& disk : options.at("disk")) {
      std::vector<OptionKey> keys = {{"path", true}, {"readonly"}, {"direct"}};
      if (major >= 52) keys.push_back({"image_type"});
      check(disk, keys);
      check_disk(option_value(disk, "path"), option_value(disk, "readonly") == "on");
    }
  check(one(options, "net"), {{"fd", true}, {"mac", true}, {"num_queues"}});
  vmm.mac = option_value(one(options, "net"), "mac");
  vmm.tap = number(option_value(one(options, "net"), "fd"));
  check_tap_by_descriptor(vmm.tap);
  if (!vmm.told("hang")) vmm.api = number(option_value(one(options, "api-socket"), "fd"));
  vmm.reads_input = isatty(STDIN_FILENO) == 1;  // as the real one has it
  return vmm;
}

void answer(int fd, int status, const std::string& body) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " \r\nServer: stand-in\r\nConnection: keep-alive\r\n";
  if (!body.empty())
    text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  text += "\r\n" + body;
  (void)!write(fd, text.data(), text.size());
}

void on_order(const Vmm& vmm, int fd, const std::string& request) {
  const std::string line = request.substr(0, request.find("\r\n"));
  const std::string body = request.substr(std::min(request.find("\r\n\r\n") + 4, request.size()));
  const auto end_unless_deaf = [&] {
    answer(fd, 204, "");
    if (!vmm.told("deaf")) _exit(0);
  };
  if (vmm.firecracker && line == "GET / HTTP/1.1")
    return answer(fd, 200, R"({"id":"x","state":"Running","vmm_version":"1","app_name":"Firecracker"})");
  if (vmm.firecracker && line == "PUT /actions HTTP/1.1") {
    const Json action = Json::parse(body, nullptr, false);
    if (action == Json{{"action_type", "SendCtrlAltDel"}}) return end_unless_deaf();
  }
  if (!vmm.firecracker && line == "GET /api/v1/vm.info HTTP/1.1")
    return answer(fd, 200, R"({"config":{},"state":"Running","memory_actual_size":1})");
  if (!vmm.firecracker &&
      (line == "PUT /api/v1/vm.power-button HTTP/1.1" || line == "PUT /api/v1/vmm.shutdown HTTP/1.1"))
    return end_unless_deaf();
  answer(fd, 400, R"({"fault_message":"Invalid request method and/or path"})");
}

void on_connection(const Vmm& vmm) {
  const int fd = accept4(vmm.api, nullptr, nullptr, SOCK_CLOEXEC);
  if (vmm.told("silent")) return;  // stays open
  std::array<char, 4096> request = {};
  const ssize_t count = read(fd, request.data(), request.size());
  if (count > 0) on_order(vmm, fd, std::string(request.data(), static_cast<size_t>(count)));
  (void)close(fd);
}

void say(std::string_view text) { (void)!write(STDOUT_FILENO, text.data(), text.size()); }

void on_input(Vmm& vmm) {
  char c = 0;
  if (read(STDIN_FILENO, &c, 1) <= 0) {
    vmm.reads_input = false;
    return;
  }
  if (vmm.told("dies-soon")) std::abort();
  if (c == 'q') _exit(0);
  if (c == 'x') _exit(1);
  if (c == 'F') {
    const std::string piece(65536, 'z');
    for (int i = 0; i < 64; ++i)
      for (size_t at = 0; at < piece.size();) {
        const ssize_t count = write(STDOUT_FILENO, piece.data() + at, piece.size() - at);
        if (count <= 0) give_up_errno("write to the serial line");
        at += static_cast<size_t>(count);
      }
    say("FLOOD-END\r\n");
  }
  say({&c, 1});
}

int term_signals(const Vmm& vmm) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  (void)sigprocmask(SIG_BLOCK, &set, nullptr);
  return vmm.told("deaf") ? -1 : signalfd(-1, &set, SFD_CLOEXEC);
}

void run(Vmm vmm) {
  prepare_tap(vmm.tap);
  if (vmm.told("crash")) std::abort();
  GuestStub guest(vmm.tap, vmm.mac, vmm.cmdline);
  const int term = term_signals(vmm);
  say("STAND-IN-READY " + vmm.cmdline + "\r\n");
  guest.announce();
  for (;;) {
    std::array<pollfd, 4> waiting = {{{.fd = vmm.api, .events = POLLIN, .revents = 0},
                                      {.fd = vmm.tap, .events = POLLIN, .revents = 0},
                                      {.fd = vmm.reads_input ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0},
                                      {.fd = term, .events = POLLIN, .revents = 0}}};
    (void)poll(waiting.data(), waiting.size(), -1);
    if (waiting[0].revents != 0) on_connection(vmm);
    if (waiting[1].revents != 0) guest.on_frame();
    if (waiting[2].revents != 0) on_input(vmm);
    if (waiting[3].revents != 0) _exit(0);
  }
}

}  // namespace
}  // namespace slicer::test

int main(int argc, char** argv) {
  using namespace slicer::test;
  const std::string program = argv[0];
  const std::string name = program.substr(program.rfind('/') + 1);
  const std::string version = version_of(program);
  const bool firecracker = name == "firecracker";
  if (argc == 2 && std::string(argv[1]) == "--version") {
    (void)std::printf("%s v%s\n", firecracker ? "Firecracker" : "cloud-hypervisor", version.c_str());
    return 0;
  }
  check_confined(
      std::any_of(argv, argv + argc, [](const char* word) { return std::string(word) == "--start-time-us"; }));
  run(firecracker ? start_firecracker(argc, argv, version) : start_cloud_hypervisor(argc, argv, version));
}
