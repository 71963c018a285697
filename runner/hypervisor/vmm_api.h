#pragma once
// HTTP/1.1 over a local socket, as Firecracker and Cloud Hypervisor take orders by it: small requests, small answers.

#include <chrono>
#include <string>

#include "lib/base/result.h"

namespace slicer::runner {

struct ApiRequest {
  const char* method = "GET";
  std::string path = {};  ///< "/actions"
  std::string body = {};  ///< JSON; empty: none
};
struct ApiAnswer {
  int status = 0;
  std::string body = {};
};

/// One request on a connection of its own. Errors: kUnavailable (nobody listens, or it was closed), kBusy (no answer in
/// time), kDecode.
Result<ApiAnswer> call_api(const std::string& socket, const ApiRequest& request, std::chrono::milliseconds limit);

/// The same, and an answer other than 2xx is an error (kInternal) with its words.
Result<ApiAnswer> order_api(const std::string& socket, const ApiRequest& request, std::chrono::milliseconds limit);

/// The head of an answer: its status, and the length of the body that follows. Error: kDecode.
struct ApiHead {
  int status = 0;
  size_t body_bytes = 0;
};
Result<ApiHead> parse_api_head(std::string_view head);

}  // namespace slicer::runner
