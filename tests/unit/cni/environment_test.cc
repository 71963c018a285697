#include "lib/cni/environment.h"

#include <doctest/doctest.h>

namespace slicer::cni {
namespace {

using Variables = std::map<std::string, std::string>;

Result<Environment> read(const Variables& variables) {
  return read_environment([&variables](const char* name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

Variables complete(const std::string& command) {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "vm1"},
          {"CNI_NETNS", "/run/netns/x"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_PATH", "/opt/cni/bin"}};
}

constexpr const char* kNames[] = {"CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"};

// Which of kNames a command needs, in order. Source: libcni's pkg/skel.
const std::map<std::string, std::string> kNeeded = {{"ADD", "1111"}, {"CHECK", "1111"},  {"DEL", "1011"},
                                                    {"GC", "0001"},  {"STATUS", "0001"}, {"VERSION", "0000"}};

}  // namespace

TEST_CASE("read_environment: every command, with every set of variables missing, names exactly the needed ones") {
  for (const auto& [command, needed] : kNeeded) {
    for (unsigned absent = 0; absent < 16; ++absent) {
      for (const bool empty : {false, true}) {
        Variables variables = complete(command);
        std::string missing;
        for (size_t i = 0; i < 4; ++i) {
          if ((absent >> i & 1U) == 0) continue;
          if (empty) {
            variables[kNames[i]] = "";
          } else {
            variables.erase(kNames[i]);
          }
          if (needed[i] == '1') missing += std::string(missing.empty() ? "" : ", ") + kNames[i];
        }
        CAPTURE(command);
        CAPTURE(missing);
        const Result<Environment> env = read(variables);
        CHECK(env.has_value() == missing.empty());
        if (env) continue;
        CHECK(env.error().kind == Kind::kInvalidEnvironment);
        CHECK(env.error().message == "missing environment: " + missing);
      }
    }
  }
}

TEST_CASE("read_environment: no command and an unknown one") {
  CHECK(read({}).error().message == "missing environment: CNI_COMMAND");
  CHECK(read(complete("ADDD")).error().message == "CNI_COMMAND: 'ADDD' is not a command");
  CHECK(read(complete("add")).error().kind == Kind::kInvalidEnvironment);
}

TEST_CASE("read_environment: what is set arrives") {
  Variables variables = complete("ADD");
  variables["CNI_ARGS"] = "IgnoreUnknown=1;MAC=02:00:00:00:00:01;EMPTY=;TAG=a=b;;";
  variables["CNI_PATH"] = ":/opt/cni/bin::/usr/lib/cni:";
  const Environment env = read(variables).value();
  CHECK(env.command == Command::kAdd);
  CHECK(env.container_id == "vm1");
  CHECK(env.netns == "/run/netns/x");
  CHECK(env.ifname == "eth0");
  CHECK(env.path == std::vector<std::string>{"/opt/cni/bin", "/usr/lib/cni"});
  CHECK(env.arg("MAC") == "02:00:00:00:00:01");
  CHECK(env.arg("TAG") == "a=b");
  CHECK(!env.arg("EMPTY"));
  CHECK(!env.arg("ABSENT"));
}

TEST_CASE("read_environment: CNI_NETNS_OVERRIDE is 1 or any spelling of true") {
  for (const auto& [value, expected] : std::map<std::string, bool>{{"1", true},
                                                                   {"TRUE", true},
                                                                   {"true", true},
                                                                   {"True", true},
                                                                   {"0", false},
                                                                   {"yes", false},
                                                                   {"", false},
                                                                   {"11", false}}) {
    CAPTURE(value);
    Variables variables = complete("ADD");
    variables["CNI_NETNS_OVERRIDE"] = value;
    CHECK(read(variables).value().netns_override == expected);
  }
}

TEST_CASE("read_environment: broken CNI_ARGS stop an ADD, never a cleanup") {
  for (const char* args : {"MAC", "=x", "a=b;c", ";;x"}) {
    for (const auto& [command, needed] : kNeeded) {
      CAPTURE(args);
      CAPTURE(command);
      Variables variables = complete(command);
      variables["CNI_ARGS"] = args;
      CHECK(read(variables).has_value() == (command != "ADD" && command != "CHECK"));
    }
  }
}

TEST_CASE("read_environment: bad IDs and names of ADD, CHECK and DEL") {
  for (const char* command : {"ADD", "CHECK", "DEL"}) {
    for (const char* id : {"-x", ".x", "a/b", "../x", "a b", "ä", "a:b", "a\n", "_x"}) {
      CAPTURE(id);
      Variables variables = complete(command);
      variables["CNI_CONTAINERID"] = id;
      CHECK(read(variables).error().kind == Kind::kInvalidEnvironment);
    }
    Variables variables = complete(command);
    variables["CNI_IFNAME"] = "a/b";
    CHECK(read(variables).error().message.starts_with("CNI_IFNAME: "));
  }
  Variables variables = complete("GC");
  variables["CNI_IFNAME"] = "a/b";  // not GC's variable
  CHECK(read(variables).has_value());
}

TEST_CASE("check_container_id, check_network_name: the specification's pattern") {
  for (const char* name : {"a", "0", "vm-1", "A_b.c-d", "a..b"}) {
    CHECK(check_container_id(name).has_value());
    CHECK(check_network_name(name).has_value());
  }
  for (const char* name : {"", ".", "..", "-a", "_a", "a/b", "a b", "a\x01"}) {
    CAPTURE(name);
    CHECK(check_container_id(name).error().kind == Kind::kInvalidEnvironment);
    CHECK(check_network_name(name).error().kind == Kind::kInvalidConfig);
  }
  CHECK(check_network_name(std::string(200, 'a')).has_value());
  CHECK(!check_network_name(std::string(201, 'a')));
}

TEST_CASE("check_ifname: the kernel's rules") {
  for (const char* name : {"e", "eth0", "vmtap0", "a.b", "a@b", "fifteen-chars-1", "...", "\xc3\xa4"}) {
    CAPTURE(name);
    CHECK(check_ifname(name).has_value());
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("sixteen-chars-12"), std::string("a/b"),
        std::string("a:b"), std::string("a b"), std::string("a\t"), std::string("a\n"), std::string("tap%d"),
        std::string("a\0b", 3), std::string("\xc3\xa0"), std::string("a\x7f"), std::string("all"),
        std::string("default"), std::string("a\xff"), std::string("\xc3")}) {
    CAPTURE(name);
    CHECK(check_ifname(name).error().kind == Kind::kInvalidEnvironment);
  }
}

TEST_CASE("command_name: as CNI_COMMAND has it") {
  for (const auto& [command, needed] : kNeeded) CHECK(command_name(read(complete(command)).value().command) == command);
}

}  // namespace slicer::cni
