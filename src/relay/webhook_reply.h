// What an HTTP answer, or none, means for a record. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "relay/sink.h"

namespace mxring::relay {

struct HttpAnswer {
  int code = 0;  // 0: there was none
  std::int64_t retry_after_s = 0;
  std::string body;      // its beginning
  std::string location;  // where a redirect leads
  std::string error;     // why there was no answer
  std::string url;
  std::int64_t timeout_ns = 0;
};

// 2xx done; 410 pauses; 408, 425, 429, 5xx, redirects and no answer: later; other 4xx: for good.
// Retry-After holds everybody. The ticket is not set.
Outcome judge(const HttpAnswer& answer);

}  // namespace mxring::relay
