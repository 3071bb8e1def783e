#include "mxring/record.h"

#include <algorithm>

namespace mxring {

std::string Record::delivered() const {
  std::string out;
  out.reserve(trace.size() + message.size());
  out.append(trace);
  std::uint64_t at = 0;
  for (const ByteRange& range : leave_out) {
    const std::uint64_t begin = std::clamp<std::uint64_t>(range.begin, at, message.size());
    out.append(message.substr(at, begin - at));
    at = std::clamp<std::uint64_t>(range.end, begin, message.size());
  }
  out.append(message.substr(at));
  return out;
}

}  // namespace mxring
