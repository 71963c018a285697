#include "lib/cni/fields.h"

#include <doctest/doctest.h>

namespace slicer::cni {
namespace {

const Json kConf = parse_json(R"({"s": "text", "t": true, "i": 5, "n": null, "l": ["a", "b"], "o": {"k": {"z": 1}},
                                  "f": 1.5, "big": 18446744073709551615, "neg": -3, "mixed": ["a", 1],
                                  "e": [], "long": ")" +
                              std::string(300, 'x') + R"("})")
                       .value();

template <class T>
std::string message_of(const Result<T>& result) {
  return result ? "no error" : result.error().message;
}

}  // namespace

TEST_CASE("fields: a key of the right type is read") {
  CHECK(string_field(kConf, "s").value() == "text");
  CHECK(bool_field(kConf, "t", false).value());
  CHECK(int_field(kConf, "i", 0).value() == 5);
  CHECK(int_field(kConf, "neg", 0).value() == -3);
  CHECK(strings_field(kConf, "l").value() == std::vector<std::string>{"a", "b"});
  CHECK(object_field(kConf, "o").value() == Json{{"k", {{"z", 1}}}});
  CHECK(array_field(kConf, "l").value() == Json::array({"a", "b"}));
  CHECK(array_field(kConf, "e").value() == Json::array());
  CHECK(nested_field(kConf, {"o", "k", "z"}).value() == 1);
  CHECK(nested_field(kConf, {"o", "k"}).value() == Json{{"z", 1}});
}

TEST_CASE("fields: a key is found in any case, the very key first") {
  const Json conf =
      Json::parse(R"({"ISGATEWAY": true, "MTU": 1, "mtu": 2, "IPAM": {"Type": "x"}, "mtus": 3, "dns": null,
                                    "DNS": {}})");
  CHECK(bool_field(conf, "isGateway", false).value());
  CHECK(int_field(conf, "mtu", 0).value() == 2);
  CHECK(nested_field(conf, {"ipam", "type"}).value() == "x");
  CHECK(find_key(conf, "mt") == nullptr);
  CHECK(nested_field(conf, {"dns"}).value().is_null());
  CHECK(message_of(bool_field(Json{{"ISGATEWAY", 5}}, "isGateway", false)).find("\"isGateway\"") == 0);
}

TEST_CASE("fields: a string with a NUL character is refused") {
  const Json conf = Json::parse(R"({"s": "a\u0000b", "l": ["c", "d\u0000"]})");
  CHECK(message_of(string_field(conf, "s")) == R"("s": "a\u0000b" has a NUL character)");
  CHECK(message_of(strings_field(conf, "l")).find(R"("l"[1]: )") == 0);
}

TEST_CASE("fields: absent, null and a null document give the default") {
  for (const char* key : {"absent", "n"}) {
    for (const Json& json : {kConf, Json()}) {
      CHECK(string_field(json, key, "d").value() == "d");
      CHECK(bool_field(json, key, true).value());
      CHECK(!optional_bool_field(json, key).value().has_value());
      CHECK(int_field(json, key, 9, {.low = 0, .high = 1}).value() == 9);
      CHECK(!optional_int_field(json, key).value().has_value());
      CHECK(strings_field(json, key).value().empty());
      CHECK(object_field(json, key).value() == Json::object());
      CHECK(array_field(json, key).value() == Json::array());
      CHECK(nested_field(json, {key, "k"}).value().is_null());
    }
  }
}

TEST_CASE("fields: a wrong type names key, expectation and value") {
  CHECK(message_of(string_field(kConf, "i")) == R"("i": expected a string, got 5)");
  CHECK(message_of(bool_field(kConf, "s", true)) == R"("s": expected true or false, got "text")");
  CHECK(message_of(int_field(kConf, "f", 0)) == R"("f": expected an integer, got 1.5)");
  CHECK(message_of(int_field(kConf, "t", 0)) == R"("t": expected an integer, got true)");
  CHECK(message_of(strings_field(kConf, "mixed")) == R"("mixed"[1]: expected a string, got 1)");
  CHECK(message_of(strings_field(kConf, "s")) == R"("s": expected a list of strings, got "text")");
  CHECK(message_of(object_field(kConf, "l")) == R"("l": expected an object, got a list)");
  CHECK(message_of(array_field(kConf, "o")) == R"("o": expected a list, got an object)");
  CHECK(message_of(nested_field(kConf, {"s", "k"})) == R"("s": expected an object, got "text")");
  CHECK(message_of(string_field(Json("x"), "k")) == R"(read "k": expected an object around it, got "x")");
  CHECK(string_field(kConf, "i").error().kind == Kind::kInvalidConfig);
}

TEST_CASE("fields: a wrong type says how to write the right one") {
  CHECK(string_field(kConf, "i").error().hint == R"(write "i" as a JSON string, in double quotes)");
  CHECK(bool_field(kConf, "s", true).error().hint == R"(write "s" as true or false, without quotes)");
  CHECK(int_field(kConf, "s", 0).error().hint == R"(write "s" as a whole JSON number, without quotes)");
  CHECK(strings_field(kConf, "s").error().hint == R"(write "s" as a JSON list of strings: ["…", "…"])");
  CHECK(strings_field(kConf, "mixed").error().hint == R"(write "mixed"[1] as a JSON string, in double quotes)");
  CHECK(array_field(kConf, "o").error().hint == R"(write "o" as a JSON list, in brackets)");
  CHECK(object_field(kConf, "l").error().hint == R"(write "l" as a JSON object, in braces)");
}

TEST_CASE("fields: a long value is shortened in messages") {
  CHECK(message_of(int_field(kConf, "long", 0)).size() < 120);
}

TEST_CASE("fields: bounds are inclusive, and numbers beyond 64 bits are out of range") {
  CHECK(int_field(kConf, "i", 0, {.low = 5, .high = 5}).value() == 5);
  CHECK(message_of(int_field(kConf, "i", 0, {.low = 6, .high = 9})) == R"("i": 5 is out of range (allowed: 6-9))");
  CHECK(message_of(int_field(kConf, "i", 0, {.low = 6})) == R"("i": 5 is out of range (allowed: 6 or more))");
  CHECK(message_of(int_field(kConf, "neg", 0, {.high = -4})) == R"("neg": -3 is out of range (allowed: -4 or less))");
  CHECK(message_of(int_field(kConf, "big", 0)).starts_with(R"("big": 18446744073709551615 is out of range)"));
}

}  // namespace slicer::cni
