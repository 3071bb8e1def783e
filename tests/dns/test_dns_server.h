// A DNS server on loopback that serves a Zone with its faults, over UDP and TCP on one port, in a
// thread of its own. It counts what it is asked.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/ip_address.h"
#include "tests/dns/zone.h"

namespace mxring::test {

class TestDnsServer {
 public:
  explicit TestDnsServer(Zone zone);
  TestDnsServer(const TestDnsServer&) = delete;
  TestDnsServer& operator=(const TestDnsServer&) = delete;
  ~TestDnsServer();

  base::Endpoint endpoint() const;
  std::string address() const { return endpoint().to_string(); }

  void set_zone(Zone zone);
  // Hears everything, says nothing: a dead resolver whose port is open.
  void set_dead(bool dead) { dead_ = dead; }
  // Every reply over UDP is a truncated one, so that everything goes over TCP.
  void set_truncating(bool truncating) { truncating_ = truncating; }
  // Replies repeat the question in lower case; TCP is not spoken in the second form.
  void set_folding(bool folding, bool tcp = true) {
    folding_ = folding;
    speaks_tcp_ = tcp;
  }
  // What it does with a query that has an option record (RFC 6891): as with others, or one of what
  // servers do that do not know it.
  enum class Options {
    kTaken,
    kFormatError,
    kFormatErrorBare,
    kNotImplemented,
    kBadVersion,
    kServerFailure,
    kDropped
  };
  void set_options(Options options) { options_ = options; }
  // REFUSED is all it says.
  void set_refusing(bool refusing) { refusing_ = refusing; }
  // Queries with an option record, probes included.
  std::size_t questions_with_options() const { return questions_with_options_; }
  // Queries received, probes for the root excluded.
  std::size_t questions() const { return questions_; }
  std::size_t questions_about(const dns::Question& question) const;
  std::size_t tcp_questions() const { return tcp_questions_; }

 private:
  struct Later;
  using Bytes = std::vector<std::uint8_t>;

  bool listen();
  void run();
  void on_datagram();
  void on_connection();
  std::vector<Bytes> replies_to(const Bytes& query, bool tcp, int& delay_ms, bool& close_at_once,
                                bool& dribble);
  std::vector<Bytes> replies_to_options(const Bytes& query) const;
  std::vector<Bytes> lower_case_replies_to(const Bytes& query, bool tcp, int& delay_ms,
                                           bool& close_at_once, bool& dribble);

  Zone zone_;
  mutable std::mutex mutex_;
  std::map<std::string, std::size_t> asked_;
  std::vector<Later> later_;
  std::atomic<bool> dead_ = false;
  std::atomic<bool> truncating_ = false;
  std::atomic<bool> folding_ = false;
  std::atomic<Options> options_ = Options::kTaken;
  std::atomic<bool> refusing_ = false;
  std::atomic<std::size_t> questions_with_options_ = 0;
  std::atomic<bool> speaks_tcp_ = true;
  std::atomic<std::size_t> questions_ = 0;
  std::atomic<std::size_t> tcp_questions_ = 0;
  int udp_ = -1;
  int tcp_ = -1;
  int stop_ = -1;
  std::vector<int> held_;  // TCP connections that dribble
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace mxring::test
