// What a load run is to do, as the command line or a test says it.
//
// Thread: a value, read by all workers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "load/message_source.h"
#include "load/schedule.h"
#include "net/tls_client.h"

namespace mxring::load {

enum class Tls : std::uint8_t { kNone, kStartTls, kImplicit };

struct Options {
  base::Endpoint server;
  std::uint32_t connections = 32;
  std::uint32_t threads = 1;
  std::optional<std::uint64_t> messages;  // else by duration_ns
  std::int64_t duration_ns = 10 * base::kNsPerSecond;
  std::optional<Rate> rate;  // open loop; without it closed loop
  bool chunking = false;     // BDAT in place of DATA (RFC 3030); then content.chunks is set too
  bool pipelining = false;   // MAIL, RCPT and DATA in one segment (RFC 2920), where offered
  // As many as mxring's own default limit; 0 = no limit.
  std::uint32_t messages_per_connection = 1000;
  std::string helo = "load.example";
  std::int64_t connect_timeout_ns = 10 * base::kNsPerSecond;
  std::int64_t reply_timeout_ns = 30 * base::kNsPerSecond;
  std::int64_t time_limit_ns = 0;  // for the whole run; 0 = none
  // A worker that has seen failures and no reply at all for so long ends the run. Longer than a
  // client rests after a failure, or resting would look like silence.
  std::int64_t give_up_ns() const { return reply_timeout_ns + 2 * base::kNsPerSecond; }
  Tls tls = Tls::kNone;
  std::shared_ptr<const net::TlsClient> tls_client;  // unless kNone
  int server_pid = 0;                                // whose CPU time is measured; 0 = nobody's
  MessageSource::Options content;
  std::vector<std::string> message_paths;
  bool keep_acknowledged = false;  // the last word of every reply that accepts a message
  // Set by somebody else: end early, and report what there is.
  const std::atomic<bool>* stop = nullptr;
};

}  // namespace mxring::load
