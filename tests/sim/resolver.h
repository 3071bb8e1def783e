// The resolver of a life: a few domains whose verdicts are known by construction, asked over UDP
// and TCP, and moods in which it answers late, never, with an error, truncated, or after a forgery.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sim/net.h"

namespace mxring::sim {

// What happens to one answer; chances in a thousand, drawn in this order.
struct ResolverMood {
  std::uint64_t silent = 0;
  std::uint64_t server_failure = 0;
  std::uint64_t refused = 0;
  std::uint64_t truncated = 0;
  std::uint64_t wrong_id = 0;        // a forgery first
  std::uint64_t wrong_question = 0;  // likewise
  std::uint64_t garbage = 0;
  std::uint64_t no_options = 0;  // FORMERR to whoever sends an option record
  std::uint64_t tcp_closes = 0;
  std::uint64_t twice = 0;
  Ns latency_max = 30 * kMs;
  std::uint64_t slow = 0;  // up to ten seconds
};

class SimResolver {
 public:
  explicit SimResolver(World& world);

  void add_text(const std::string& name, const std::string& text);
  void add_address(const std::string& name, const std::string& four_bytes);
  // Names below: four bytes, "" for none, or "silent".
  using Zone = std::function<std::string(std::string_view rest)>;
  void add_zone(const std::string& name, Zone zone) { zones_[name] = std::move(zone); }

  ResolverMood mood;
  std::uint64_t asked = 0;

 private:
  struct Record {
    std::uint16_t type;
    std::string data;
  };
  struct Asked {
    std::string name;  // lower case, dotted
    std::uint16_t type = 0;
    std::size_t end = 0;  // of the question
    bool options = false;
  };
  static bool parse(std::string_view query, Asked* out);
  const Zone* zone_of(std::string_view name, std::string_view* rest) const;
  std::string answer(std::string_view query, const Asked& about, int code, bool truncated) const;
  void on_query(std::shared_ptr<Datagrams> from, const std::string& query);
  void on_stream(const StreamPtr& stream);
  void send(const std::shared_ptr<Datagrams>& to, std::string bytes, Ns delay);
  Ns latency();

  World& world_;
  Dice dice_;
  std::map<std::string, std::vector<Record>> records_;
  std::map<std::string, Zone> zones_;
};

}  // namespace mxring::sim
