// Stands in for Firecracker's jailer: takes exactly its command line, and really makes the jail: copies the program,
// enters the network namespace and the cgroup, changes the root, makes the device nodes, changes the user.
// Source of what it does, in this order: Firecracker, src/jailer/src/{main,env,chroot,cgroup}.rs of 1.16.
// Its version is at the end of its file, as stand_in_vmm's. A file "fault" beside it holds one word:
//   "refuse" (at once), "hang" (in the jail, before it changes user), "die" (there, of SIGKILL).
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/system/hypervisors/stand_in_version.h"

namespace slicer::test {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void give_up(const std::string& why) {
  (void)std::fprintf(stderr, "%s\n", why.c_str());
  _exit(1);
}
[[noreturn]] void give_up_errno(const std::string& what) { give_up(what + ": " + strerror(errno)); }
void check(bool worked, const std::string& what) {
  if (!worked) give_up_errno(what);
}

enum class Takes { kNothing, kOne, kMany };
const std::map<std::string, Takes> kKnown = {{"id", Takes::kOne},
                                             {"exec-file", Takes::kOne},
                                             {"uid", Takes::kOne},
                                             {"gid", Takes::kOne},
                                             {"chroot-base-dir", Takes::kOne},
                                             {"netns", Takes::kOne},
                                             {"daemonize", Takes::kNothing},
                                             {"new-pid-ns", Takes::kNothing},
                                             {"cgroup", Takes::kMany},
                                             {"resource-limit", Takes::kMany},
                                             {"cgroup-version", Takes::kOne},
                                             {"parent-cgroup", Takes::kOne}};

struct Order {
  std::map<std::string, std::string> options = {};
  std::vector<std::string> rest = {};  ///< behind "--"

  [[nodiscard]] bool has(const std::string& name) const { return options.contains(name); }
  [[nodiscard]] const std::string& get(const std::string& name) const {
    const auto found = options.find(name);
    if (found == options.end()) give_up("Failed to parse arguments: Argument '" + name + "' required, but not found.");
    return found->second;
  }
};

Order read_order(int argc, char** argv) {
  Order order;
  int i = 1;
  for (; i < argc && std::string(argv[i]) != "--"; ++i) {
    const std::string word = argv[i];
    const auto known = word.starts_with("--") ? kKnown.find(word.substr(2)) : kKnown.end();
    if (known == kKnown.end())
      give_up("Failed to parse arguments: Found argument '" + word +
              "' which wasn't expected, or isn't valid in this context.");
    if (known->first == "cgroup") give_up("this stand-in has no --cgroup");
    if (order.has(known->first))
      give_up("Failed to parse arguments: The argument '" + word + "' was provided more than once.");
    std::string& value = order.options[known->first];
    if (known->second == Takes::kNothing) continue;
    if (i + 1 == argc || std::string(argv[i + 1]).starts_with("--"))
      give_up("Failed to parse arguments: The argument '" + word + "' requires a value, but none was supplied.");
    value = argv[++i];
  }
  for (++i; i < argc; ++i) order.rest.emplace_back(argv[i]);
  return order;
}

unsigned number(const Order& order, const std::string& name) {
  const std::string& text = order.get(name);
  if (text.empty() || !std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; }))
    give_up("Invalid " + name + ": " + text);
  return static_cast<unsigned>(std::stoul(text));
}

/// What must be right before anything is made.
struct Plan {
  fs::path exec_file = {};
  std::string name = {};  ///< of the program
  std::string root = {};
  uid_t uid = 0;
  gid_t gid = 0;
};

Plan check_order(const Order& order) {
  const std::string& id = order.get("id");
  if (id.empty() || id.size() > 64 ||
      !std::ranges::all_of(id, [](unsigned char c) { return std::isalnum(c) != 0 || c == '-'; }))
    give_up("Invalid instance ID: " + id);
  Plan plan;
  std::error_code failed;
  plan.exec_file = fs::canonical(order.get("exec-file"), failed);
  if (failed) give_up("Failed to canonicalize path " + order.get("exec-file") + ": " + failed.message());
  if (!fs::is_regular_file(plan.exec_file)) give_up(plan.exec_file.string() + " is not a file");
  plan.name = plan.exec_file.filename();
  if (plan.name.find("firecracker") == std::string::npos)  // until 1.12
    give_up("Invalid filename. The filename of `--exec-file` option must contain \"firecracker\": " + plan.name);
  const fs::path base = fs::canonical(order.get("chroot-base-dir"), failed);
  if (failed || !fs::is_directory(base)) give_up("Failed to canonicalize path " + order.get("chroot-base-dir"));
  plan.root = (base / plan.name / id / "root").string();
  plan.uid = number(order, "uid");
  plan.gid = number(order, "gid");
  for (const fs::path& part : fs::path(order.has("parent-cgroup") ? order.get("parent-cgroup") : plan.name))
    if (part == "." || part == ".." || part == "/") give_up("Parent cgroup path is invalid.");
  return plan;
}

std::string cgroup_mount() {
  std::ifstream mounts("/proc/mounts");
  std::string source;
  std::string folder;
  std::string type;
  std::string rest;
  while (mounts >> source >> folder >> type && std::getline(mounts, rest))
    if (type == "cgroup2") return folder;
  give_up("Hierarchy not found: No hierarchy found for this cgroup version.");
}

void enter_cgroup(const Order& order) {
  if (!order.has("cgroup-version") || order.get("cgroup-version") != "2") return;
  const std::string group = cgroup_mount() + "/" + order.get("parent-cgroup");
  if (!fs::exists(group)) return;  // as the real one does
  const int procs = open((group + "/cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC);
  const std::string pid = std::to_string(getpid());
  check(procs >= 0 && write(procs, pid.data(), pid.size()) > 0, "Failed to move process to cgroup (" + group + ")");
  (void)close(procs);
}

void copy_program(const Plan& plan) {
  const std::string target = plan.root + "/" + plan.name;
  struct stat info{};
  const int from = open(plan.exec_file.c_str(), O_RDONLY | O_CLOEXEC);
  check(from >= 0 && fstat(from, &info) == 0, "Failed to open " + plan.exec_file.string());
  const int to = open(target.c_str(), O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, info.st_mode);
  check(to >= 0 && fchown(to, plan.uid, plan.gid) == 0, "Failed to open " + target);
  std::array<char, 65536> piece = {};
  for (ssize_t count = 0; (count = read(from, piece.data(), piece.size())) > 0;)
    check(write(to, piece.data(), static_cast<size_t>(count)) == count, "Failed to copy to " + target);
  (void)close(from);
  (void)close(to);
}

void change_root(const std::string& root) {
  check(unshare(CLONE_NEWNS) == 0, "Failed to unshare into new mount namespace");
  check(mount(nullptr, "/", nullptr, MS_SLAVE | MS_REC, nullptr) == 0,
        "Failed to change the propagation type to slave");
  check(mount(root.c_str(), root.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0,
        "Failed to bind mount the jail root directory");
  check(chdir(root.c_str()) == 0, "Failed to chdir");
  check(mkdir("old_root", 0600) == 0, "Failed to create the jail root directory before pivoting root");
  check(syscall(SYS_pivot_root, ".", "old_root") == 0, "Failed to pivot root");
  check(chdir("/") == 0, "Failed to chdir into chroot directory");
  check(umount2("old_root", MNT_DETACH) == 0, "Failed to unmount the old jail root");
  check(rmdir("old_root") == 0, "Failed to remove old jail root directory");
}

void make_folder(const char* path, const Plan& plan) {
  check(mkdir(path, 0777) == 0 || errno == EEXIST, std::string("Failed to create directory ") + path);
  check(chmod(path, 0700) == 0, std::string("Failed to change permissions on ") + path);
  check(chown(path, plan.uid, plan.gid) == 0, std::string("Failed to change owner for ") + path);
}

void make_device(const char* path, unsigned minor, unsigned major, const Plan& plan) {
  check(mknod(path, S_IFCHR | 0600U, makedev(major, minor)) == 0,
        std::string("Failed to create ") + path + " via mknod inside the jail");
  check(chown(path, plan.uid, plan.gid) == 0, std::string("Failed to change owner for ") + path);
}

void limit_descriptors(const Order& order) {
  constexpr std::string_view kFront = "no-file=";
  rlim_t most = 2048;
  if (order.has("resource-limit")) {
    const std::string& text = order.get("resource-limit");
    if (!text.starts_with(kFront)) give_up("Invalid resource argument: " + text);
    most = std::stoul(text.substr(kFront.size()));
  }
  const rlimit files{.rlim_cur = most, .rlim_max = most};
  check(setrlimit(RLIMIT_NOFILE, &files) == 0, "Failed to set limit for resource");
}

std::string fault_beside(const std::string& program) {
  std::ifstream file(program.substr(0, program.rfind('/')) + "/fault");
  std::string word;
  file >> word;
  return word;
}

[[noreturn]] void exec(const Order& order, const Plan& plan) {
  // As a Rust program's Command does with a uid: no further groups.
  check(setgroups(0, nullptr) == 0 && setgid(plan.gid) == 0 && setuid(plan.uid) == 0,
        "Failed to exec into Firecracker");
  std::vector<std::string> words = {
      "/" + plan.name,        "--id", order.get("id"), "--start-time-us", "1", "--start-time-cpu-us", "1",
      "--parent-cpu-time-us", "1"};
  words.insert(words.end(), order.rest.begin(), order.rest.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<char*, 1> none = {nullptr};
  (void)execve(argv[0], argv.data(), none.data());
  give_up_errno("Failed to exec into Firecracker");
}

[[noreturn]] void jail(const Order& order, const std::string& fault) {
  if (fault == "refuse") give_up("Invalid instance ID: told to");
  const Plan plan = check_order(order);
  if (order.has("daemonize") || order.has("new-pid-ns")) give_up("this stand-in stays one process");
  enter_cgroup(order);
  std::error_code failed;
  fs::create_directories(plan.root, failed);
  if (failed) give_up("Failed to create directory " + plan.root);
  copy_program(plan);
  if (order.has("netns")) {
    const int netns = open(order.get("netns").c_str(), O_RDONLY | O_CLOEXEC);
    check(netns >= 0, "Failed to open file " + order.get("netns"));
    check(setns(netns, CLONE_NEWNET) == 0, "Failed to join network namespace: netns");
    (void)close(netns);
  }
  limit_descriptors(order);
  change_root(plan.root);
  for (const char* folder : {"/", "/dev", "/dev/net", "/run"}) make_folder(folder, plan);
  make_device("/dev/net/tun", 200, 10, plan);
  make_device("/dev/kvm", 232, 10, plan);
  make_device("/dev/urandom", 9, 1, plan);
  if (fault == "hang")
    for (;;) pause();
  if (fault == "die") (void)raise(SIGKILL);
  std::ofstream(("/" + plan.name + ".pid").c_str()) << getpid();
  exec(order, plan);
}

}  // namespace
}  // namespace slicer::test

int main(int argc, char** argv) {
  using namespace slicer::test;
  check(close_range(3, ~0U, 0) == 0, "Failed to call close range syscall");
  if (std::ranges::count(argv, argv + argc, std::string("--version")) != 0) {
    (void)std::printf("Jailer v%s\n\n", version_of(argv[0]).c_str());
    return 0;
  }
  jail(read_order(argc, argv), fault_beside(argv[0]));
}
