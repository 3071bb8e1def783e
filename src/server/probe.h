// What a configuration comes to on this host, found out by trying: `serve -t --probe`. Nothing
// stays behind: ports are bound and given back, no file is written.
//
// Thread: the caller's; it blocks, for three seconds a resolver at most.
#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace mxring::server {

struct ProbeReport {
  std::vector<std::string> problems;  // what would keep mail from being received or judged
  std::vector<std::string> notes;     // what is worth knowing
};

ProbeReport probe(const Config& config);

}  // namespace mxring::server
