// A PROXY header in any bytes: whatever is said of a beginning stays said when more comes, and a
// header's length lies within what was given.
#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "net/proxy_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::net;
  const std::string_view bytes(reinterpret_cast<const char*>(data),
                               std::min(size, kProxyHeaderBytesMax + 64));
  const ProxyHeader whole = parse_proxy_header(bytes);
  if (whole.state == ProxyHeader::State::kHeader) {
    MXRING_ASSERT(whole.bytes > 0 && whole.bytes <= bytes.size());
    MXRING_ASSERT(whole.bytes <= kProxyHeaderBytesMax);
    MXRING_ASSERT(whole.version == 1 || whole.version == 2);
  }
  if (bytes.size() >= kProxyHeaderBytesMax) {
    MXRING_ASSERT(whole.state != ProxyHeader::State::kMore);
  }
  bool decided = false;
  for (std::size_t end = 0; end <= bytes.size(); ++end) {
    const ProxyHeader part = parse_proxy_header(bytes.substr(0, end));
    if (part.state == ProxyHeader::State::kMore) {
      MXRING_ASSERT(!decided);
      continue;
    }
    decided = true;
    MXRING_ASSERT(part.state == whole.state && part.bytes == whole.bytes);
    MXRING_ASSERT(part.client == whole.client && part.client_port == whole.client_port);
    MXRING_ASSERT(part.has_client == whole.has_client);
    MXRING_ASSERT(part.client_used_tls == whole.client_used_tls);
  }
  return 0;
}
