// The head of an HTTP request in any bytes: whatever is said of a beginning stays said when more
// comes, views lie within what was given, a range within its body.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "net/http_request.h"

namespace {

using mxring::net::HttpParse;
using State = HttpParse::State;

void check_request(std::string_view bytes, const HttpParse& parsed) {
  using namespace mxring::net;
  MXRING_ASSERT(parsed.bytes > 0 && parsed.bytes <= bytes.size());
  MXRING_ASSERT(parsed.bytes <= kHttpHeadBytesMax);
  const HttpRequest& request = parsed.request;
  const std::string_view head = bytes.substr(0, parsed.bytes);
  MXRING_ASSERT(head.ends_with("\r\n\r\n"));
  MXRING_ASSERT(request.path.starts_with('/'));
  for (const std::string_view view :
       {request.method, request.path, request.query, request.host, request.authorization,
        request.range, request.if_range, request.if_none_match}) {
    MXRING_ASSERT(
        view.empty() ||
        (view.data() >= head.data() && view.data() + view.size() <= head.data() + head.size()) ||
        view == "/");
    MXRING_ASSERT(view.find_first_of("\r\n\0") == view.npos);
  }
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{100}}) {
    const HttpRange range = parse_http_range(request.range, size);
    MXRING_ASSERT(range.begin <= range.end && range.end <= size);
    MXRING_ASSERT((range.kind == HttpRange::Kind::kPart) == (range.begin < range.end) ||
                  range.kind == HttpRange::Kind::kAll);
  }
  for_each_query_name(request.query, [&request](std::string_view name) {
    MXRING_ASSERT(query_value(request.query, name).has_value());
  });
  (void)is_host_of(request.host, {});
  (void)bearer_token(request.authorization);
  (void)has_entity_tag(request.if_none_match, "\"x\"");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::net;
  const std::string_view bytes(reinterpret_cast<const char*>(data),
                               std::min(size, kHttpHeadBytesMax + 64));
  const HttpParse whole = parse_http_request(bytes);
  if (whole.state == State::kRequest) check_request(bytes, whole);
  if (bytes.size() >= kHttpHeadBytesMax) MXRING_ASSERT(whole.state != State::kMore);
  bool decided = false;
  // Long heads are tried at a few hundred lengths: each try reads all of it.
  const std::size_t step = bytes.size() / 512 + 1;
  for (std::size_t end = 0; end <= bytes.size(); end += step) {
    const HttpParse part = parse_http_request(bytes.substr(0, end));
    if (part.state == State::kMore) {
      MXRING_ASSERT(!decided);
      continue;
    }
    decided = true;
    MXRING_ASSERT(part.state == whole.state && part.bytes == whole.bytes);
    MXRING_ASSERT(part.request.path == whole.request.path);
  }
  return 0;
}
