#include "mxring/record.h"

#include <algorithm>

namespace mxring {

std::string LogId::hex() const {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xF];
  }
  return text;
}

std::string Record::id() const {
  return log_id.known() ? log_id.hex() + '_' + std::to_string(offset) : std::string();
}

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
