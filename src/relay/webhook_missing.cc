// In place of webhook.cc where libcurl was missing when this was built.
#include "relay/sink.h"

namespace mxring::relay {

MadeSink make_webhook(const Config&, const SinkPlace&) {
  return std::unexpected("this mxring-relay was built without libcurl: no webhooks");
}

std::string webhook_library() {
  return {};
}

}  // namespace mxring::relay
