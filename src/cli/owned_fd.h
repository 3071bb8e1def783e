// The commands' name for base::OwnedFd.
#pragma once

#include "base/owned_fd.h"

namespace mxring::cli {

using base::OwnedFd;

}  // namespace mxring::cli
