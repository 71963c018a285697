#pragma once
// Error codes of the protocol. Source: CNI SPEC.md, section "Error".

#include "lib/base/result.h"
#include "lib/cni/json.h"

namespace slicer::cni {

/// The CNI error code of an error: the specification's 1-7, 11, 50 and 51, the reference skeleton's 8 and 999, ours
/// from 100 (docs/errors.md lists them with their remedies). kDelegate passes the received code on.
int error_code(const Error& error);

/// {"cniVersion", "code", "msg", "details"}: msg is the error's message, details its hint.
Json error_json(const Error& error, const std::string& cni_version);

/// Reads an error object that a plugin printed; what is not one becomes a kDelegate error that quotes its beginning.
Error error_from_json(std::string_view output, std::string_view plugin);

}  // namespace slicer::cni
