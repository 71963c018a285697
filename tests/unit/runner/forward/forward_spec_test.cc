#include "runner/forward/forward_spec.h"

#include <doctest/doctest.h>

namespace slicer::runner {
namespace {

std::string read(const std::string& text) {
  const Result<ForwardSpec> spec = parse_forward(text);
  if (!spec) return "error: " + spec.error().message;
  return listen_text(*spec, spec->listen_port) + " " + target_text(*spec, "vm");
}

}  // namespace

TEST_CASE("parse_forward: the forms") {
  CHECK(read("2222:22") == "127.0.0.1:2222 port 22 of vm");
  CHECK(read("0:22") == "127.0.0.1:0 port 22 of vm");
  CHECK(read("2222:127.0.0.1:22") == "127.0.0.1:2222 port 22 of vm");
  CHECK(read("2222:localhost:22") == "127.0.0.1:2222 port 22 of vm");
  CHECK(read("2222:[::1]:22/tcp") == "127.0.0.1:2222 port 22 of vm");
  CHECK(read("0.0.0.0:8080:80") == "0.0.0.0:8080 port 80 of vm");
  CHECK(read("localhost:8080:80") == "127.0.0.1:8080 port 80 of vm");
  CHECK(read("[::1]:8080:80") == "[::1]:8080 port 80 of vm");
  CHECK(read("192.0.2.1:65535:127.0.0.1:65535") == "192.0.2.1:65535 port 65535 of vm");
  CHECK(read("2222:53/udp") == "127.0.0.1:2222/udp port 53 of vm");
  CHECK(read("[::1]:0:127.0.0.1:53/udp") == "[::1]:0/udp port 53 of vm");
  CHECK(read("/run/web.sock:80") == "/run/web.sock port 80 of vm");
  CHECK(read("/run/web.sock:127.0.0.1:80") == "/run/web.sock port 80 of vm");
}

TEST_CASE("ssh_target: the guest itself as it was written, another host as the guest knows it") {
  const auto target = [](const std::string& text) { return ssh_target(parse_forward(text).value()); };
  CHECK(target("2222:22") == "127.0.0.1:22");
  CHECK(target("2222:127.0.0.1:22") == "127.0.0.1:22");
  CHECK(target("2222:[::1]:22") == "[::1]:22");
  CHECK(target("2222:localhost:22") == "localhost:22");
  CHECK(target("[::1]:2222:[2001:db8::7]:80") == "[2001:db8::7]:80");
  CHECK(target("/run/x.sock:db.example.org:5432") == "db.example.org:5432");
}

TEST_CASE("forward_json: what a program needs to connect") {
  const auto json = [](const std::string& text) { return forward_json(parse_forward(text).value(), 40001).dump(); };
  CHECK(json("0:22") == R"({"address":"127.0.0.1","guestPort":22,"host":"","port":40001,"protocol":"tcp"})");
  CHECK(json("[::1]:0:53/udp") == R"({"address":"::1","guestPort":53,"host":"","port":40001,"protocol":"udp"})");
  CHECK(json("/run/x.sock:db:80") == R"({"guestPort":80,"host":"db","path":"/run/x.sock","protocol":"tcp"})");
}

TEST_CASE("parse_forward: a host that the guest reaches") {
  CHECK(read("2222:192.0.2.7:22") == "127.0.0.1:2222 192.0.2.7:22 by vm");
  CHECK(read("2222:[2001:db8::7]:22") == "127.0.0.1:2222 [2001:db8::7]:22 by vm");
  CHECK(read("[::1]:2222:db.example.org:5432") == "[::1]:2222 db.example.org:5432 by vm");
  CHECK(read("/run/db.sock:db_1:5432") == "/run/db.sock db_1:5432 by vm");
}

TEST_CASE("parse_forward: what is none") {
  for (const char* text : {"",
                           "22",
                           ":",
                           ":22",
                           "22:",
                           "2222:22:",
                           "a:b",
                           "2222:0",
                           "65536:22",
                           "22:65536",
                           "-1:22",
                           "2222: 22",
                           "2222:22:1:2",
                           "::1:2222:22",
                           "example.org:2222:22",
                           "2222:22/sctp",
                           "2222:-oProxyCommand=x:22",
                           "2222:a b:22",
                           "/run/x.sock",
                           "/run/x.sock:22:22:22",
                           "/run/x.sock:22/udp",
                           "2222:192.0.2.7:53/udp",
                           "2222::22"}) {
    CAPTURE(text);
    CHECK(read(text).starts_with("error: "));
    CHECK_FALSE(parse_forward(text).error().hint.empty());
  }
  CHECK(read("2222:192.0.2.7:53/udp") == "error: '2222:192.0.2.7:53/udp': \"192.0.2.7\" is not the guest itself");
  CHECK(read("2222:0") == "error: '2222:0': \"0\" is no port (1-65535)");
  CHECK(read("/" + std::string(107, 'x') + ":22").find("has 108 bytes, and may have 107") != std::string::npos);
}

}  // namespace slicer::runner
