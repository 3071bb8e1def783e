#include "base/clock.h"

#include <ctime>

namespace mxring::base {

Now read_clocks() {
  timespec mono{};
  timespec wall{};
  clock_gettime(CLOCK_MONOTONIC, &mono);
  clock_gettime(CLOCK_REALTIME, &wall);
  return {{mono.tv_sec * kNsPerSecond + mono.tv_nsec},
          {wall.tv_sec * 1'000'000 + wall.tv_nsec / 1000}};
}

}  // namespace mxring::base
