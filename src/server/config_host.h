// What this host says to a configuration, found out without binding, writing or asking anybody: for
// `serve -t`.
#pragma once

#include <string>
#include <vector>

#include "server/config.h"

namespace mxring::server {

struct HostFinding {
  bool mistake;  // else worth a warning
  std::string text;
};

std::vector<HostFinding> host_findings(const Config& config);

}  // namespace mxring::server
