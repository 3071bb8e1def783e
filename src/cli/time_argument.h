// The commands' names for moments as people type them (base/moment.h).
#pragma once

#include "base/moment.h"

namespace mxring::cli {

using base::kTimeForms;
using base::parse_time;

}  // namespace mxring::cli
