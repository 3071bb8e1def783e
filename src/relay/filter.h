// Which records a relay is about. Pure.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "decode/facts.h"
#include "relay/config.h"

namespace mxring::relay {

// "*" any run of characters; ASCII case does not matter.
bool like(std::string_view pattern, std::string_view text);

class Filter {
 public:
  explicit Filter(const Config& config) : config_(config) {}

  bool by_type() const { return !config_.filter_types.empty(); }
  bool takes_type(decode::Kind kind) const;
  // Everything but the type. `recipients`: those that match, by index.
  bool takes(const Record& record, std::vector<std::uint32_t>& recipients) const;

 private:
  const Config& config_;
};

}  // namespace mxring::relay
