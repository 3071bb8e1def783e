// In place of nats.cc where libnats was missing when this was built.
#include "relay/sink.h"

namespace mxring::relay {

MadeSink make_nats(const Config&, const SinkPlace&) {
  return std::unexpected("this mxring-relay was built without libnats: no JetStream");
}

std::string nats_library() {
  return {};
}

}  // namespace mxring::relay
