#include "server/rules.h"

namespace mxring::server {

Rules::Rules(const Config& given, bool has_certificates)
    : config(given),
      policy(config),
      lists(parse_block_lists(config.access.dnsbl)),
      session{config.hostname, config.limits, config.syntax,
              has_certificates && config.tls.starttls, !config.recipients.journal.empty()} {}

}  // namespace mxring::server
