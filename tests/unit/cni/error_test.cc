#include "lib/cni/error.h"

#include <doctest/doctest.h>

#include <set>

namespace slicer::cni {

TEST_CASE("error_code: the documented number of every kind") {
  const struct {
    Kind kind;
    int code;
  } table[] = {{Kind::kUnsupportedVersion, 1},
               {Kind::kUnsupportedField, 2},
               {Kind::kInvalidEnvironment, 4},
               {Kind::kIo, 5},
               {Kind::kDecode, 6},
               {Kind::kInvalidConfig, 7},
               {Kind::kHostNetns, 8},
               {Kind::kBusy, 11},
               {Kind::kUnavailable, 50},
               {Kind::kSystem, 100},
               {Kind::kNotFound, 101},
               {Kind::kExists, 102},
               {Kind::kDuplicate, 103},
               {Kind::kExhausted, 104},
               {Kind::kMismatch, 105},
               {Kind::kUnsupportedKernel, 106},
               {Kind::kDelegate, 107},
               {Kind::kInternal, 999}};
  std::set<int> codes;
  for (const auto& row : table) {
    CHECK(error_code({.kind = row.kind, .message = ""}) == row.code);
    codes.insert(row.code);
  }
  CHECK(codes.size() == std::size(table));
}

TEST_CASE("error_code: not available, and whether what is attached suffers from it, too") {
  CHECK(error_code({.kind = Kind::kUnavailable, .message = "", .code = 51}) == 51);
  CHECK(error_code({.kind = Kind::kUnavailable, .message = "", .code = 11}) == 50);
}

TEST_CASE("error_code: a delegate's code is passed on") {
  CHECK(error_code({.kind = Kind::kDelegate, .message = "", .code = 11}) == 11);
  CHECK(error_code({.kind = Kind::kDelegate, .message = "", .code = -1}) == 107);
}

TEST_CASE("error_json: details only where there is a hint") {
  CHECK(error_json({.kind = Kind::kBusy, .message = "m", .hint = "h"}, "0.4.0") ==
        Json{{"cniVersion", "0.4.0"}, {"code", 11}, {"msg", "m"}, {"details", "h"}});
  CHECK(!error_json({.message = "m"}, "0.4.0").contains("details"));
}

TEST_CASE("error_from_json: an error object keeps code, message and details") {
  const Error error = error_from_json(R"({"cniVersion": "1.0.0", "code": 7, "msg": "bad", "details": "why"})", "ipam");
  CHECK(error.kind == Kind::kDelegate);
  CHECK(error.code == 7);
  CHECK(error.message == "run 'ipam': bad");
  CHECK(error.hint == "why");
}

TEST_CASE("error_from_json: what is no error object is quoted, whatever it is") {
  for (const char* output : {"panic: oh", "[1]", "null", "{}", R"({"code": 7})", R"({"msg": 7})", "\xff\xfe"}) {
    CAPTURE(output);
    const Error error = error_from_json(output, "ipam");
    CHECK(error.kind == Kind::kDelegate);
    CHECK(error_code(error) == 107);
    CHECK(error.message.find(output) != std::string::npos);
    CHECK(!dump_json(error_json(error, "1.0.0")).empty());
  }
  CHECK(error_from_json("", "ipam").message == "run 'ipam': failed without an error object");
  CHECK(error_from_json(std::string(100000, 'x'), "ipam").message.size() < 400);
}

TEST_CASE("error_from_json: a code that is none becomes ours") {
  for (const char* code : {"0", "-5", "1.5", "\"7\"", "4294967296", "18446744073709551615", "null"}) {
    CAPTURE(code);
    const Error error = error_from_json(R"({"msg": "m", "details": 5, "code": )" + std::string(code) + "}", "p");
    CHECK(error.message == "run 'p': m");
    CHECK(error_code(error) == 107);
  }
}

}  // namespace slicer::cni
