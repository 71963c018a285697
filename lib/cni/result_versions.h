#pragma once
// Results in the shape of every specification version. Source: SPEC.md of each release; libcni's types/{020,040,100}.

#include <span>
#include <string>
#include <string_view>

#include "lib/cni/result_types.h"

namespace slicer::cni {

/// Oldest first: 0.1.0 0.2.0 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0.
std::span<const std::string_view> supported_versions();
bool is_supported(std::string_view version);
/// True when `version` is at least `minimum`; both must be supported ones.
bool version_at_least(std::string_view version, std::string_view minimum);

/// Error: kUnsupportedVersion, its hint the versions that are supported.
Result<void> check_version(std::string_view version);

/// Reads a result in the shape of its own "cniVersion"; absent: `fallback_version`, which is the configuration's for a
/// result that came with one (libcni's way), else 0.1.0. Errors: kDecode with the field named, kUnsupportedVersion.
Result<CniResult> parse_result(const Json& json, std::string_view fallback_version = "0.1.0");

/// Writes a result in `version`'s shape: 0.1/0.2 ip4/ip6 (first address of a family, without interfaces), 0.3/0.4
/// ips[].version, 1.0 without it, 1.1.0 with mtu, socketPath, pciID and route attributes. Errors: kUnsupportedVersion.
Result<Json> result_json(const CniResult& result, std::string_view version);

}  // namespace slicer::cni
