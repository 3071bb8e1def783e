#include "base/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace mxring::base {

DescriptorLimit raise_descriptors(std::uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const rlimit raised{std::min<rlim_t>(limit.rlim_max, wanted), limit.rlim_max};
  if (limit.rlim_cur < raised.rlim_cur && ::setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  return {limit.rlim_cur, limit.rlim_max};
}

}  // namespace mxring::base
