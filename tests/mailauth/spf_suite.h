// The SPF suites of others, read in place: openspf's for RFC 7208 and pyspf's (YAML), mailauth's
// (JSON, which is YAML as well). Cases listed in spf_exceptions.txt are not for us, with the
// reason.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/dns/zone.h"

namespace mxring::test {

struct SpfCase {
  std::string id;  // suite/scenario/name
  std::shared_ptr<const Zone> zone;
  std::string host;
  std::string mail_from;
  std::string helo;
  std::vector<std::string> results;  // any of these
  std::string explanation;           // "DEFAULT": there is none in DNS; empty: not compared
};

struct MacroCase {
  std::string macro;
  std::string sender;
  std::string domain;
  std::string ip;  // may be empty
  std::string out;
};

struct SpfSuites {
  std::string missing;  // why there are none, for the skip
  std::vector<SpfCase> cases;
  std::vector<MacroCase> macros;
  std::map<std::string, std::string> exceptions;  // id to reason
};

SpfSuites load_spf_suites();

}  // namespace mxring::test
