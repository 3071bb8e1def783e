// The files a configuration names for its policy: recipients and access rules, read when the
// configuration is read. A file with a mistake is a mistake of the configuration, named with its
// line; nothing of it is used.
//
// Immutable once read; shared by whoever uses the configuration.
#pragma once

#include "server/access.h"
#include "server/config.h"
#include "server/recipients.h"

namespace mxring::server {

struct PolicyFiles {
  Recipients recipients;
  Access access;
};

// Reads what `recipients` and `access` of the configuration name; what is wrong becomes a mistake.
void read_policy_files(ConfigDraft& draft);

}  // namespace mxring::server
