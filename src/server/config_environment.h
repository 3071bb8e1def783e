// Keys of the configuration from the environment, for containers: MXRING_LISTEN__SMTP is
// listen.smtp and MXRING_HOSTNAME is hostname. They go over the file and below the command line's
// flags.
//
// A name with two underscores must be a key's; so must one that is a key but for its spelling
// (MXRING_LISTEN_SMTP, MXRING_HOSTNAM). Other names that begin with MXRING_ are somebody else's:
// Kubernetes sets MXRING_PORT for a service called mxring.
#pragma once

#include <array>
#include <string_view>

#include "server/config.h"

namespace mxring::server {

// Lays what `environment` (as environ: name=value, null after the last) has over the draft. What is
// wrong becomes a mistake that names the variable; what a variable replaces is no mistake any more.
void lay_environment(ConfigDraft& draft, const char* const* environment);

// What --help-config says of it, a paragraph each.
inline constexpr std::array<std::string_view, 2> kEnvironmentWords{
    "Each key may also be set in the environment, as MXRING_SECTION__KEY in capitals: "
    "MXRING_LISTEN__SMTP, MXRING_HOSTNAME. Flags go over the environment, the environment over "
    "this file, this file over the defaults. A wrong name or value is an error there as here.",
    "A value stands there without quotes: MXRING_LIMITS__MESSAGE_SIZE=25MiB. The elements of a "
    "list have commas between them, MXRING_LISTEN__SMTP=0.0.0.0:25,[::]:25, or are a list as here, "
    "[\"0.0.0.0:25\", \"[::]:25\"]; an empty value is an empty text or list."};

}  // namespace mxring::server
