// The DNS of a test: names with records and faults, answered in process or by TestDnsServer. As
// text:
//
//   # comment
//   example.org A 192.0.2.1
//   example.org TXT "v=spf1 mx " "-all"         strings of one record
//   example.org MX 10 mx.example.org
//   www.example.org CNAME example.org
//   slow.example.org ! slow 300                  a fault, with its milliseconds
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dns/question.h"
#include "dns/record.h"

namespace mxring::test {

enum class Fault {
  kNone,
  kSilent,           // "silent": no reply to what the zone has no records for
  kServerFailure,    // "servfail"
  kRefused,          // "refused"
  kSlow,             // "slow MS"
  kWrongId,          // "wrong-id": a forgery with another id, then the reply
  kWrongQuestion,    // "wrong-question": a forgery about another name, then the reply
  kOnlyForgeries,    // "only-forgeries": both, and never the reply
  kTruncated,        // "truncated": over UDP; whole over TCP
  kTcpCloses,        // "tcp-closes": truncated, and TCP ends without a reply
  kTcpDribbles,      // "tcp-dribbles": truncated, and TCP never gets beyond its first byte
  kOversized,        // "oversized": 8 KiB over UDP
  kCompressionLoop,  // "compression-loop": an owner name that points at itself
  kGarbage,          // "garbage": random bytes behind the question
  kReflected,        // "reflected": the query itself comes back
  kEmpty,            // "empty": a datagram without a byte
  kForgedCase,  // "forged-case": a forgery that knows all but the letters' case, then the reply
  kOneAlias,    // "one-alias": an alias without its target's records
};

struct Node {
  std::vector<base::IpAddress> addresses;
  std::vector<std::vector<std::string>> texts;
  std::vector<dns::Exchanger> exchangers;
  std::vector<dns::Name> pointers;
  std::optional<dns::Name> alias;
  Fault fault = Fault::kNone;
  int fault_ms = 0;

  bool has(dns::Type type) const;
};

class Zone {
 public:
  // Throws std::runtime_error with the line when it is malformed.
  static Zone parse(std::string_view text);
  static Zone load(const std::string& path);

  Node& at(std::string_view name);  // made when it is not there; throws when it is no name
  const Node* find(const dns::Name& name) const;
  // What a faultless resolver would say; kSilent gives a timeout.
  dns::AnswerPtr answer(const dns::Question& question) const;

 private:
  std::map<std::string, Node, std::less<>> nodes_;  // by wire form
};

}  // namespace mxring::test
