#include "runner/state/vm_definition.h"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include "lib/base/whole_file.h"
#include "runner/state/storage_size.h"
#include "tests/unit/runner/temp_folder.h"

namespace slicer::runner {
namespace {

using test::TempFolder;

Settings settings_in(const TempFolder& folder) {
  Settings settings;
  settings.data_dir = folder.path() + "/slicer";
  return settings;
}

VmDefinition definition() {
  VmDefinition vm;
  vm.name = "demo-1";
  vm.created = 1700000000;
  vm.group = "demo";
  vm.group_file = "/srv/demo.yaml";
  vm.network = "demo";
  vm.conf_dir = "/etc/cni/net.d";
  vm.conflist = "{}";
  vm.image_dir = "/srv/image";
  vm.kernel = "/srv/kernel";
  vm.initrd = "";
  vm.vcpus = 3;
  vm.ram_mib = 512;
  vm.capability_args = {{"ips", {"192.0.2.7/24"}}};
  vm.storage_bytes = uint64_t{10} << 30;
  vm.dns_servers = {"192.0.2.53"};
  vm.ssh_keys = {"ssh-ed25519 AAAA me"};
  vm.userdata = "#!/bin/sh\n";
  vm.restart = "always";
  vm.hypervisor = "firecracker";
  vm.jailer = true;
  vm.jailer_path = "/opt/jailer";
  vm.mac = "02:00:5e:00:53:01";
  vm.addresses = {"192.0.2.7/24"};
  vm.kept_disk =
      KeptDisk{.format = "qcow2", .base = "/srv/disk.img", .base_format = "raw", .base_bytes = 7, .base_changed_ns = 1};
  vm.stopped = true;
  return vm;
}

unsigned mode_of(const std::string& path) {
  struct stat info{};
  return stat(path.c_str(), &info) == 0 ? info.st_mode & 0777U : 0;
}

}  // namespace

TEST_CASE("save_definition: what is read again is what was saved, and only root may read it") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  REQUIRE(save_definition(settings, definition()));
  const auto read = load_definition(settings, "demo-1");
  REQUIRE(read);
  CHECK(*read == definition());
  CHECK(mode_of(kept_files(settings, "demo-1").folder) == 0700);
  CHECK(mode_of(kept_files(settings, "demo-1").definition) == 0600);
}

TEST_CASE("parse_definition: an absent file of the image is not one that is left out") {
  VmDefinition vm = definition();
  vm.kernel.reset();
  const auto read = parse_definition(definition_json(vm));
  REQUIRE(read);
  CHECK_FALSE(read->kernel);
  CHECK(read->initrd == "");
}

TEST_CASE("load_definition: a VM that is not kept; another version; another VM's file") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  CHECK(load_definition(settings, "demo-1").error().kind == Kind::kNotFound);
  CHECK_FALSE(*find_definition(settings, "demo-1"));
  REQUIRE(save_definition(settings, definition()));
  const std::string path = kept_files(settings, "demo-1").definition;
  cni::Json json = definition_json(definition());
  json["version"] = 2;
  REQUIRE(write_whole_file(path, json.dump()));
  const auto later = load_definition(settings, "demo-1");
  CHECK(later.error().kind == Kind::kDecode);
  CHECK(later.error().message == "read '" + path + "': \"version\": 2 is not 1: another slicer-run wrote it");
  json["version"] = 1;
  json["name"] = "demo-2";
  REQUIRE(write_whole_file(path, json.dump()));
  CHECK(load_definition(settings, "demo-1").error().message == "read '" + path + "': it is of VM 'demo-2'");
}

TEST_CASE("list_definitions: one that is not readable does not hide the others, nor does a folder without one") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  CHECK(list_definitions(settings)->empty());
  for (const char* name : {"b", "a"}) {
    VmDefinition vm = definition();
    vm.name = name;
    REQUIRE(save_definition(settings, vm));
  }
  folder.folder("slicer/vms/seed-only");
  folder.folder("slicer/vms/broken");
  folder.write("slicer/vms/broken/vm.json", "{");
  const auto all = list_definitions(settings);
  REQUIRE(all);
  REQUIRE(all->size() == 2);
  CHECK(all->front().name == "a");
  CHECK(list_kept_folders(settings)->size() == 4);
}

TEST_CASE("remove_kept: the whole folder; absent is success; never more than one VM's") {
  const TempFolder folder;
  const Settings settings = settings_in(folder);
  REQUIRE(save_definition(settings, definition()));
  folder.write("slicer/vms/demo-1/disk.qcow2", "x");
  for (const char* name : {"", ".", "..", "../vms"}) CHECK_FALSE(remove_kept(settings, name));
  CHECK(load_definition(settings, "demo-1"));
  CHECK(remove_kept(settings, "demo-1"));
  CHECK(list_kept_folders(settings)->empty());
  CHECK(remove_kept(settings, "demo-1"));
}

TEST_CASE("definition_of: from a record, with what the run learned") {
  VmDefinition vm = definition();
  VmRecord record = stopped_record(vm);
  CHECK(record.phase == Phase::kStopped);
  CHECK(std::string(state_name(record)) == "stopped");
  CHECK(record.addresses.empty());
  record.addresses = {"192.0.2.8/24"};
  const auto again = definition_of(*parse_record(record_text(record)));
  REQUIRE(again);
  vm.addresses = {"192.0.2.8/24"};
  CHECK(*again == vm);
  CHECK_FALSE(definition_of(VmRecord{}));
}

TEST_CASE("parse_storage_size: units of 1024, and GiB without one") {
  CHECK(*parse_storage_size("10G") == uint64_t{10} << 30);
  CHECK(*parse_storage_size("10") == uint64_t{10} << 30);
  CHECK(*parse_storage_size("512M") == uint64_t{512} << 20);
  CHECK(*parse_storage_size("512MiB") == uint64_t{512} << 20);
  CHECK(*parse_storage_size("2Ti") == uint64_t{2} << 40);
  CHECK(*parse_storage_size("65536K") == uint64_t{64} << 20);
  for (const char* wrong : {"", "G", "0", "-1G", "1.5G", "10GB", "10 G", "1K", "65T", "99999999999999999999", "1e3"})
    CHECK_MESSAGE(parse_storage_size(wrong).error().kind == Kind::kInvalidConfig, wrong);
  CHECK(storage_size_text(uint64_t{10} << 30) == "10G");
  CHECK(storage_size_text(uint64_t{1536} << 20) == "1536M");
}

}  // namespace slicer::runner
