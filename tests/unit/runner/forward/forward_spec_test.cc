#include "runner/forward/forward_spec.h"

#include <doctest/doctest.h>

namespace slicer::runner {
namespace {

std::string read(const std::string& text) {
  const Result<ForwardSpec> spec = parse_forward(text);
  if (!spec) return "error: " + spec.error().message;
  return endpoint_text(spec->listen, spec->listen_port) + " " + std::to_string(spec->guest_port);
}

}  // namespace

TEST_CASE("parse_forward: the forms") {
  CHECK(read("2222:22") == "127.0.0.1:2222 22");
  CHECK(read("0:22") == "127.0.0.1:0 22");
  CHECK(read("2222:127.0.0.1:22") == "127.0.0.1:2222 22");
  CHECK(read("2222:localhost:22") == "127.0.0.1:2222 22");
  CHECK(read("2222:[::1]:22") == "127.0.0.1:2222 22");
  CHECK(read("0.0.0.0:8080:80") == "0.0.0.0:8080 80");
  CHECK(read("localhost:8080:80") == "127.0.0.1:8080 80");
  CHECK(read("[::1]:8080:80") == "[::1]:8080 80");
  CHECK(read("192.0.2.1:65535:127.0.0.1:65535") == "192.0.2.1:65535 65535");
}

TEST_CASE("parse_forward: what is none") {
  for (const char* text : {"", "22", ":", ":22", "22:", "2222:22:", "a:b", "2222:0", "65536:22", "22:65536", "-1:22",
                           "2222: 22", "2222:22:1:2", "::1:2222:22", "example.org:2222:22", "2222:22/tcp"}) {
    CAPTURE(text);
    CHECK(read(text).starts_with("error: "));
    CHECK_FALSE(parse_forward(text).error().hint.empty());
  }
  CHECK(read("2222:192.0.2.7:22") == "error: '2222:192.0.2.7:22': \"192.0.2.7\" is not the guest itself");
  CHECK(read("2222:0") == "error: '2222:0': \"0\" is no port (1-65535)");
}

}  // namespace slicer::runner
