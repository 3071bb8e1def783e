// Carries letters to mail servers over a ring: several sessions at once, one for each route, each
// trying the addresses of its route in order until every letter is decided.
//
// A session that cannot be made or breaks moves the undecided letters on to the next address; when
// there is none left they are put off with the last problem. A letter that a server puts off (4yz)
// is not tried at the next address now, but in the next attempt of its owner.
//
// Files: courier.cc the sessions, courier_tls.cc what lies under them with TLS.
//
// Thread: the caller's, which run() keeps until all is decided; every wait has a limit. Failure:
// create() when there is no ring or no TLS; a server's failures are the letters' fate.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "net/tls_client.h"
#include "report/client_dialogue.h"
#include "report/letter.h"
#include "uring/ring.h"

namespace mxring::report {

struct CourierOptions {
  std::string helo;
  TlsUse tls = TlsUse::kOffered;
  // PEM: only servers whose certificate these vouch for, and whose name is in it, get the mail;
  // with TlsUse::kRequired. Empty: any certificate will do.
  std::string authorities_file;
  std::uint32_t connections = 20;
  std::int64_t connect_timeout_ns = 30 * base::kNsPerSecond;
  // RFC 5321 4.5.3.2; the reply to a message may take twice as long.
  std::int64_t reply_timeout_ns = 300 * base::kNsPerSecond;
  // A route on which no letter is decided for so long is given up: servers that answer slowly, one
  // after the other, must not keep everybody waiting.
  std::int64_t patience_ns = 900 * base::kNsPerSecond;
};

struct Stop {
  base::Endpoint endpoint;
  std::string name;  // of the host, for people
};

struct Route {
  std::vector<Stop> stops;  // in the order in which they are tried
  std::vector<Letter*> letters;
};

class Courier {
 public:
  using Decided = std::function<void(Letter&)>;

  static std::expected<std::unique_ptr<Courier>, std::string> create(const CourierOptions& options);
  Courier(const Courier&) = delete;
  Courier& operator=(const Courier&) = delete;
  ~Courier();

  // Every letter is decided afterwards; `decided` hears of each as soon as it is.
  void run(std::vector<Route>& routes, const Decided& decided);

 private:
  struct Session;

  static constexpr std::string_view kServerClosed = "the server closed the connection";

  explicit Courier(const CourierOptions& options);

  void start_route(Session& session, Route& route);
  void open(Session& session);
  void handle(const uring::Completion& completion);
  void on_received(Session& session, std::int32_t result);
  void pump(Session& session);
  void fail(Session& session, std::string_view problem);
  void close(Session& session);
  void finish_closing(Session& session);
  void report_decided(Session& session);
  void set_reply_deadline(Session& session);
  void check_deadlines();

  // courier_tls.cc
  void begin_tls(Session& session);
  void on_ciphertext(Session& session, std::string_view bytes);
  bool collect_output(Session& session);
  bool falls_back(const Session& session) const;

  CourierOptions options_;
  std::shared_ptr<const net::TlsClient> tls_client_;  // unless TLS is never used
  std::optional<uring::Ring> ring_;
  std::vector<std::unique_ptr<Session>> sessions_;
  const Decided* decided_ = nullptr;
  base::Now now_;
  std::array<char, 16 * 1024> plaintext_{};  // of one record
  std::uint32_t generation_ = 0;
};

}  // namespace mxring::report
