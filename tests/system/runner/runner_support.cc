#include "tests/system/runner/runner_support.h"

#include <sys/mount.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/system/runner/upstream.h"

namespace slicer::test {
namespace {

// tiny.s in the comments. Multiboot 1 (GNU Multiboot specification 0.6.96, section 3.1): QEMU and its firmware load it
// at 1 MiB and jump to it in protected mode. q35's power management is at port 0x600 (PM1 status, enable, control).
constexpr std::array<unsigned char, 88> kCode = {
    0xbe, 0x6b, 0x00, 0x10, 0x00,              //        mov  esi, message
    0xfc,                                      //        cld
    0xac,                                      // put:   lodsb
    0x84, 0xc0, 0x74, 0x07,                    //        test al, al; jz ready
    0x66, 0xba, 0xf8, 0x03, 0xee, 0xeb, 0xf4,  //        mov  dx, 0x3f8; out dx, al; jmp put
    0x66, 0xba, 0x02, 0x06,                    // ready: mov  dx, 0x602
    0x66, 0xb8, 0x00, 0x01, 0x66, 0xef,        //        mov  ax, 0x100; out dx, ax      (power button enabled)
    0xf3, 0x90,                                // loop:  pause
    0x66, 0xba, 0x00, 0x06, 0x66, 0xed,        //        mov  dx, 0x600; in ax, dx
    0xf6, 0xc4, 0x01, 0x75, 0x15,              //        test ah, 1; jnz off             (pressed)
    0x66, 0xba, 0xfd, 0x03, 0xec,              //        mov  dx, 0x3fd; in al, dx
    0xa8, 0x01, 0x74, 0xea,                    //        test al, 1; jz loop             (nothing received)
    0x66, 0xba, 0xf8, 0x03, 0xec,              //        mov  dx, 0x3f8; in al, dx
    0x3c, 0x71, 0x74, 0x03, 0xee, 0xeb, 0xde,  //        cmp  al, 'q'; je off; out dx, al; jmp loop
    0x66, 0xba, 0x04, 0x06,                    // off:   mov  dx, 0x604
    0x66, 0xb8, 0x00, 0x20, 0x66, 0xef,        //        mov  ax, 0x2000; out dx, ax     (soft off)
    0xf4, 0xeb, 0xfd,                          // halt:  hlt; jmp halt
    'T',  'I',  'N',  'Y',  '-',  'R',  'E',  'A', 'D', 'Y', '\r', '\n', 0};

constexpr size_t kPowerButtonBit = 25;  // the 0x01 of "mov ax, 0x100"

std::string tiny_kernel(bool deaf) {
  constexpr uint32_t kMagic = 0x1BADB002;
  constexpr uint32_t kAddressesGiven = 0x10000;
  constexpr uint32_t kBase = 0x100000;
  const std::array<uint32_t, 8> header = {kMagic,
                                          kAddressesGiven,
                                          0U - (kMagic + kAddressesGiven),
                                          kBase,
                                          kBase,
                                          kBase + sizeof(header) + kCode.size(),
                                          0,
                                          kBase + sizeof header};
  std::string image(reinterpret_cast<const char*>(header.data()), sizeof header);
  image.append(reinterpret_cast<const char*>(kCode.data()), kCode.size());
  if (deaf) image[sizeof header + kPowerButtonBit] = 0;
  return image;
}

// Only this mount namespace sees the user.
void add_user() {
  write_text("/run/passwd", contents("/etc/passwd") + "slicer-vm:x:" + std::to_string(Runner::kUid) + ":" +
                                std::to_string(Runner::kUid) + "::/nonexistent:/usr/sbin/nologin\n");
  if (mount("/run/passwd", "/etc/passwd", nullptr, MS_BIND, nullptr) != 0) give_up("bind /etc/passwd");
}

void kill_recorded(const Json& process) {
  const pid_t pid = process.value("pid", 0);
  if (pid > 0 && runs(pid)) (void)kill(pid, SIGKILL);
}

}  // namespace

bool exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

void write_text(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary);
  file << text;
  if (!file.flush()) give_up("write " + path);
}

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;  // takes a read that fails (a process below /proc that ends just now) for the end
  text << file.rdbuf();
  return text.str();
}

bool runs(pid_t pid) {
  const std::string stat = contents("/proc/" + std::to_string(pid) + "/stat");
  const size_t name_end = stat.rfind(')');
  return name_end != std::string::npos && stat.substr(name_end, 4).find('Z') == std::string::npos;
}

Runner::Runner() {
  add_user();
  write_text(kTinyKernel, tiny_kernel(false));
  write_text(kDeafKernel, tiny_kernel(true));
  std::filesystem::create_directories("/etc/cni/net.d");
  network("host", true);
  network("private", false);
}

Runner::~Runner() {
  if (!exists("/run/slicer")) return;
  for (const auto& folder : std::filesystem::directory_iterator("/run/slicer")) {
    const Json state = Json::parse(contents(folder.path() / "state.json"), nullptr, false);
    if (!state.is_object()) continue;
    kill_recorded(state.value("supervisor", Json::object()));
    kill_recorded(state.value("hypervisor", Json::object()));
  }
}

std::vector<std::string> Runner::argv(const std::string& line) {
  std::string path = std::string(SLICER_TEST_BIN_DIR) + ":" + bin_dir();
  if (const std::string upstream = upstream_dir(); !upstream.empty()) path += ":" + upstream;
  std::vector<std::string> all = {bin_dir() + "/slicer-run", "--cni-path", path};
  for (std::string& word : words(line)) all.push_back(std::move(word));
  return all;
}

void Runner::use_stand_in() {
  std::filesystem::create_directories("/run/stand-in");
  for (const char* name : {"qemu-system-x86_64", "qemu-system-aarch64"})
    std::filesystem::copy(plugin_dir() + "/stand_in_qemu", std::string("/run/stand-in/") + name);
  const std::string path = std::string("/run/stand-in:") + std::getenv("PATH");
  if (setenv("PATH", path.c_str(), 1) != 0) give_up("setenv PATH");
}

std::string Runner::prepare_sshd() {
  if (const char* unpacked = std::getenv("SLICER_TEST_SSHD"); unpacked != nullptr) {
    const std::string root = unpacked;
    (void)setenv("PATH", (root + "/usr/sbin:" + std::getenv("PATH")).c_str(), 1);
    for (const auto& folder : std::filesystem::directory_iterator(root + "/usr/lib"))  // one per processor
      if (folder.path().string().ends_with("-linux-gnu")) (void)setenv("LD_LIBRARY_PATH", folder.path().c_str(), 1);
  }
  if (!slicer::test::run({"sh", "-c", "command -v sshd"}).ok()) return "no sshd here: apt install openssh-server";
  std::ofstream("/etc/passwd", std::ios::app) << "sshd:x:64322:65534::/run/sshd:/usr/sbin/nologin\n";
  return {};
}

bool Runner::has_demo_image() { return std::getenv("SLICER_TEST_IMAGE") != nullptr; }

void Runner::install_demo_image() {
  // A link, so that the runner finds the image where it is installed.
  std::filesystem::create_directories("/var/lib/slicer/images");
  std::filesystem::create_symlink(std::getenv("SLICER_TEST_IMAGE"), "/var/lib/slicer/images/demo");
}

Outcome Runner::run(const std::string& line, const std::string& in) {
  return test::run(argv(line), {.in = in, .deadline = std::chrono::seconds(60)});
}

Outcome Runner::start(const std::string& name, const std::string& network, const std::string& more) {
  return run("vm new " + name + " --network " + network + " --ram-mb 16 --kernel " + kTinyKernel + " " + more);
}

Json Runner::vm(const std::string& name) {
  for (const Json& entry : Json::parse(run("list --json").out, nullptr, false))
    if (entry.value("name", "") == name) return entry;
  return nullptr;
}

bool Runner::gone(const std::string& name) {
  return eventually([&] { return !exists("/run/slicer/" + name); }, std::chrono::seconds(10));
}

bool Runner::says(const std::string& name, const std::string& text) {
  return eventually([&] { return contents("/run/slicer/" + name + "/console.log").find(text) != std::string::npos; },
                    std::chrono::seconds(20));
}

// Told on the console itself; the quotes keep the line's echo apart from its answer.
bool Runner::guest_does(const std::string& vm, const std::string& line) {
  const std::string log = "/run/slicer/" + vm + "/console.log";
  const size_t before = contents(log).size();
  write_text("/run/typed", "{ " + line + "; } >/dev/null 2>&1 && echo it''-worked || echo it''-failed\n");
  const Background console({"sh", "-c", "exec " + argv("")[0] + " vm console " + vm + " </run/typed"}, "");
  const auto said = [&](const char* word) { return contents(log).find(word, before) != std::string::npos; };
  if (!eventually([&] { return said("it-worked") || said("it-failed"); }, std::chrono::seconds(20)))
    give_up("the shell of " + vm + " says nothing to: " + line);
  return said("it-worked");
}

void Runner::network(const std::string& name, bool host, const Json& keys) {
  Json plugin = {
      {"type", "tap_plugin"}, {"address", "192.0.2.2/24"}, {"gateway", "192.0.2.1/24"}, {"log", "/run/calls"}};
  plugin.update(keys);
  Json list = {{"cniVersion", "1.0.0"}, {"name", name}, {"plugins", Json::array({plugin})}};
  if (host) list["netns"] = "host";
  write_text("/etc/cni/net.d/" + name + ".conflist", list.dump());
}

std::string Runner::plugin_dir() { return SLICER_TEST_BIN_DIR; }

std::vector<std::string> Runner::calls() {
  std::vector<std::string> lines;
  std::istringstream text(contents("/run/calls"));
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

}  // namespace slicer::test
