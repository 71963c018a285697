#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runner/state/process_id.h"
#include "runner/state/vm_files.h"
#include "runner/state/vm_lock.h"
#include "runner/state/vm_record.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

using test::TempFolder;

using namespace std::chrono_literals;

VmRecord full_record() {
  return {.name = "demo-1",
          .phase = Phase::kRunning,
          .created = 1767225600,
          .supervisor = {.pid = 100, .start_time = 12345678901},
          .hypervisor = {.pid = 101, .start_time = 12345678902},
          .network = "slicer",
          .conflist = R"({"name":"slicer","plugins":[]})",
          .conf_dir = "/etc/cni/net.d",
          .cni_path = {"/opt/cni/bin", "/usr/lib/cni"},
          .cache_dir = "/var/lib/cni",
          .cni_args = {{"IgnoreUnknown", "1"}, {"TC_REDIRECT_TAP_UID", "999"}},
          .placement = Placement::kHost,
          .netns = "/proc/self/ns/net",
          .ifname = "vmtap0",
          .attached = true,
          .tap = "vmtap0",
          .mac = "02:00:5e:00:53:01",
          .addresses = {"192.0.2.7/24", "2001:db8::7/64"},
          .gateways = {"192.0.2.1"},
          .lease = VmRecord::Lease{.address = "192.0.2.8/24", .router = "192.0.2.1", .server = "192.0.2.2", .end = 9},
          .seen_addresses = {"2001:db8::7", "2001:db8::8"},
          .link_local = "fe80::5eff:fe00:5301",
          .hypervisor_name = "qemu",
          .accelerator = "tcg",
          .vcpus = 2,
          .ram_mib = 512};
}

Settings settings_in(const TempFolder& folder) {
  Settings settings;
  settings.state_dir = folder.path() + "/state";
  return settings;
}

}  // namespace

TEST_CASE("parse_record: reads what record_text wrote") {
  CHECK(parse_record(record_text(full_record())) == full_record());
  VmRecord empty;
  CHECK(parse_record(record_text(empty)) == empty);
}

TEST_CASE("all_addresses: what the network gave, what a server leased, what was seen beside that") {
  CHECK(all_addresses(full_record()) ==
        std::vector<std::string>{"192.0.2.7/24", "2001:db8::7/64", "192.0.2.8/24", "2001:db8::8/64"});
  CHECK(all_addresses(VmRecord{}).empty());
}

TEST_CASE("parse_record: what is no record is told so") {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"phase":"dreaming"})", R"({"phase":"running","vcpus":"two"})",
        R"({"phase":"running","supervisor":{"pid":-1}})", R"({"phase":"running","cniArgs":["x"]})"}) {
    CAPTURE(text);
    const auto record = parse_record(text);
    REQUIRE_FALSE(record);
    CHECK(record.error().kind == Kind::kDecode);
  }
}

TEST_CASE("check_vm_name: DNS names") {
  for (const char* name :
       {"a", "demo-1", "1", "db.prod", "a23456789012345678901234567890123456789012345678901234567890123"})
    CHECK_MESSAGE(check_vm_name(name), name);
  for (const char* name : {"", "-a", "a-", "A", "a_b", "a..b", ".a", "a.", "a/b", "..", "a b",
                           "a234567890123456789012345678901234567890123456789012345678901234"})
    CHECK_MESSAGE(!check_vm_name(name), name);
}

TEST_CASE("check_vm_name: short enough for the file names it is part of") {
  std::string name(49, 'a');
  for (int i = 0; i < 3; ++i) name += "." + std::string(49, 'a');
  CHECK(name.size() == 199);
  CHECK(check_vm_name(name));
  CHECK_FALSE(check_vm_name(name + "aa"));
}

TEST_CASE("list_vm_names: the folders, sorted; none when nothing ever ran") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  CHECK(list_vm_names(settings)->empty());
  {
    const auto lock = VmLock::acquire(settings, "b", 0ms);
  }
  {
    const auto lock = VmLock::acquire(settings, "a", 0ms);
  }
  CHECK(*list_vm_names(settings) == std::vector<std::string>{"a", "b"});
}

TEST_CASE("VmLock: one holder at a time") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  CHECK(VmLock::try_existing(settings, "a").error().kind == Kind::kNotFound);
  {
    const auto lock = VmLock::acquire(settings, "a", 0ms);
    REQUIRE(lock);
    CHECK(VmLock::acquire(settings, "a", 0ms).error().kind == Kind::kBusy);
    CHECK(VmLock::try_existing(settings, "a").error().kind == Kind::kBusy);
  }
  CHECK(VmLock::try_existing(settings, "a"));
}

TEST_CASE("VmLock: a lock on a removed folder is none") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  const VmFiles files = vm_files(settings, "a");
  const auto old = VmLock::acquire(settings, "a", 0ms);
  REQUIRE(old);
  REQUIRE(unlink(files.lock.c_str()) == 0);
  REQUIRE(rmdir(files.folder.c_str()) == 0);
  const auto fresh = VmLock::acquire(settings, "a", 0ms);
  REQUIRE(fresh);
  CHECK(access(files.lock.c_str(), F_OK) == 0);
}

TEST_CASE("open_process: only exactly the process that was identified") {
  const pid_t child = fork();
  if (child == 0) {
    (void)pause();
    _exit(0);
  }
  const auto id = identify_process(child);
  REQUIRE(id);
  CHECK(open_process(*id).valid());
  CHECK_FALSE(open_process({.pid = child, .start_time = id->start_time + 1}).valid());
  CHECK_FALSE(open_process({}).valid());
  CHECK(kill_process({.pid = child, .start_time = id->start_time + 1}));
  CHECK(open_process(*id).valid());  // another's pid is not touched
  CHECK(kill_process(*id));
  CHECK_FALSE(open_process(*id).valid());  // a zombie is no running process
  (void)waitpid(child, nullptr, 0);
  CHECK_FALSE(open_process(*id).valid());
  CHECK(kill_process(*id));
}

}  // namespace slicer::runner
