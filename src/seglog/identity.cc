#include "seglog/identity.h"

#include <algorithm>

#include "seglog/log_directory.h"

namespace mxring::seglog {

namespace {

constexpr std::size_t kHexDigits = 32;

int digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

LogId log_id_of(const SegmentHeader& header) {
  LogId id;
  std::copy(std::begin(header.log_id), std::end(header.log_id), id.bytes.begin());
  return id;
}

std::optional<LogId> parse_log_id(std::string_view hex) {
  if (hex.size() != kHexDigits) return std::nullopt;
  LogId id;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    const int high = digit(hex[2 * i]);
    const int low = digit(hex[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    id.bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return id.known() ? std::optional(id) : std::nullopt;
}

std::optional<LogId> read_log_id(int directory_fd) {
  const ReadFile file = ReadFile::open_at(directory_fd, kLogIdName);
  char text[kHexDigits + 1];
  if (!file.is_open() || read_fully(file.fd(), text, sizeof text, 0) != sizeof text ||
      text[kHexDigits] != '\n') {
    return std::nullopt;
  }
  return parse_log_id({text, kHexDigits});
}

LogId current_log_id(int directory_fd) {
  if (const auto id = read_log_id(directory_fd)) return *id;
  const auto bases = list_segments(directory_fd).value_or(std::vector<std::uint64_t>{});
  for (auto base = bases.rbegin(); base != bases.rend(); ++base) {
    if (const auto segment = open_segment(directory_fd, *base)) return log_id_of(segment->header);
  }
  return {};
}

}  // namespace mxring::seglog
