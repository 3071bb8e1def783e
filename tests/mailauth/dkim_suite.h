// The DKIM corpora of others, read in place: messages with their DNS and the results expected. What
// we see differently is in dkim_exceptions.txt, with the reason.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/dns/zone.h"

namespace mxring::test {

struct DkimCase {
  std::string id;       // corpus/name
  std::string message;  // CRLF line ends
  std::shared_ptr<const Zone> zone;
  std::int64_t now_unix_s = 1'700'000'000;
  std::uint32_t signatures_max = 10;  // tried
  // One word per signature, in order: a result, "not-pass" or "any". With `each` the one word goes
  // for all of them, however many.
  std::vector<std::string> results;
  bool each = false;
};

struct CanonVector {
  std::string id;
  std::string kind;  // simple_body, relaxed_body, relaxed_header
  std::vector<std::string> chunks;
  std::string out;
};

struct DkimSuites {
  std::string missing;  // why there are none, for the skip
  std::vector<DkimCase> cases;
  std::vector<CanonVector> vectors;
  std::map<std::string, std::string> exceptions;  // id to the results we give
};

DkimSuites load_dkim_suites();

// Whether these results are what the case asks for.
bool as_expected(const DkimCase& test, const std::vector<std::string>& results);

}  // namespace mxring::test
