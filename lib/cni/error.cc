#include "lib/cni/error.h"

#include <climits>

namespace slicer::cni {

int error_code(const Error& error) {
  // docs/errors.md is this table for people; 1-11, 50 and 51 are the specification's, 8 and 999 the reference
  // skeleton's, 100 and above ours.
  switch (error.kind) {
    case Kind::kUnsupportedVersion:
      return 1;
    case Kind::kUnsupportedField:
      return 2;
    case Kind::kInvalidEnvironment:
      return 4;
    case Kind::kIo:
      return 5;
    case Kind::kDecode:
      return 6;
    case Kind::kInvalidConfig:
      return 7;
    case Kind::kHostNetns:
      return 8;
    case Kind::kBusy:
      return 11;
    case Kind::kUnavailable:
      return error.code == 51 ? 51 : 50;  // 51: what is attached may be cut off, too
    case Kind::kSystem:
      return 100;
    case Kind::kNotFound:
      return 101;
    case Kind::kExists:
      return 102;
    case Kind::kDuplicate:
      return 103;
    case Kind::kExhausted:
      return 104;
    case Kind::kMismatch:
      return 105;
    case Kind::kUnsupportedKernel:
      return 106;
    case Kind::kDelegate:
      return error.code > 0 ? error.code : 107;
    case Kind::kInternal:
      break;
  }
  return 999;
}

Json error_json(const Error& error, const std::string& cni_version) {
  Json json = {{"cniVersion", cni_version}, {"code", error_code(error)}, {"msg", error.message}};
  if (!error.hint.empty()) json["details"] = error.hint;
  return json;
}

Error error_from_json(std::string_view output, std::string_view plugin) {
  constexpr size_t kQuoted = 200;
  const std::string action = "run '" + std::string(plugin) + "': ";
  const Result<Json> json = parse_json(output);
  if (json && json->is_object() && json->contains("msg") && (*json)["msg"].is_string()) {
    Error error{.kind = Kind::kDelegate, .message = action + (*json)["msg"].get<std::string>()};
    if (json->contains("details") && (*json)["details"].is_string()) error.hint = (*json)["details"].get<std::string>();
    const Json code = json->value("code", Json());
    if (code.is_number_unsigned() && code.get<uint64_t>() <= INT_MAX) error.code = code.get<int>();
    return error;
  }
  std::string quoted(output.substr(0, kQuoted));
  if (quoted.empty()) return {.kind = Kind::kDelegate, .message = action + "failed without an error object"};
  return {.kind = Kind::kDelegate, .message = action + "failed, and printed no error object but '" + quoted + "'"};
}

}  // namespace slicer::cni
