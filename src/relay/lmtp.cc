#include "relay/sink.h"
namespace mxring::relay {
MadeSink make_lmtp(const Config&, const SinkPlace&) {
  return std::unexpected("lmtp");
}
}  // namespace mxring::relay
