#include "relay/sink.h"

#include <fmt/format.h>

namespace mxring::relay {

void Sink::wait(std::vector<pollfd>& others, int at_most_ms) {
  add_waits(others);
  (void)::poll(others.data(), others.size(), at_most_ms);
}

bool is_built_in(SinkKind sink) {
  if (sink == SinkKind::kWebhook) return !webhook_library().empty();
  if (sink == SinkKind::kNats) return !nats_library().empty();
  return true;
}

MadeSink make_sink(const Config& config, const SinkPlace& place) {
  switch (config.sink) {
    case SinkKind::kWebhook:
      return make_webhook(config, place);
    case SinkKind::kLmtp:
      return make_lmtp(config, place);
    case SinkKind::kMaildir:
      return make_maildir(config, place);
    case SinkKind::kNats:
      return make_nats(config, place);
  }
  return std::unexpected("no sink");
}

std::string sinks_built_in() {
  const std::string webhook = webhook_library();
  const std::string nats = nats_library();
  std::string out = "maildir, lmtp";
  if (!webhook.empty()) out += fmt::format(", webhook ({})", webhook);
  if (!nats.empty()) out += fmt::format(", nats ({})", nats);
  std::string missing;
  if (webhook.empty()) missing = "webhook (libcurl)";
  if (nats.empty()) missing += fmt::format("{}nats (libnats)", missing.empty() ? "" : ", ");
  return missing.empty() ? out : out + "; not built in: " + missing;
}

}  // namespace mxring::relay
