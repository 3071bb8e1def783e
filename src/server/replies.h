// The replies the server gives on its own account, beside those of the session (smtp/replies.h) and
// of the policy.
#pragma once

#include <string_view>

namespace mxring::server::replies {

constexpr std::string_view kDraining = "421 4.3.2 Shutting down, try again later";
constexpr std::string_view kTooManyConnections = "421 4.7.0 Too many connections, try again later";
constexpr std::string_view kCommandTimeout = "421 4.4.2 Timed out waiting for a command";
constexpr std::string_view kTooSlow = "421 4.4.2 Data arrives too slowly";
constexpr std::string_view kStorageLow = "452 4.3.1 Insufficient system storage";
constexpr std::string_view kMemoryLow = "452 4.3.1 Too many messages in flight, try again later";
constexpr std::string_view kStorageError = "451 4.3.0 Storage error, the message was not accepted";
constexpr std::string_view kHeaderTooLarge = "552 5.3.4 Header section too large";

}  // namespace mxring::server::replies
