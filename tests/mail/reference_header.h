// The header section told line by line from the whole message (RFC 5322 2.2): what HeaderIndex is
// compared with. Plain on purpose.
#pragma once

#include <string_view>
#include <vector>

#include "mail/header_index.h"

namespace mxring::mail {

struct ReferenceHeader {
  struct Found {
    std::size_t begin = 0;
    std::size_t name_bytes = 0;
    std::size_t value = 0;
    std::size_t end = 0;
  };
  std::vector<Found> fields;
  std::size_t header_bytes = 0;
  std::size_t body_begin = 0;
  HeaderStatus status = HeaderStatus::kComplete;
  HeaderEnd end = HeaderEnd::kMessageEnd;
};

// Where the colon of a field line stands; 0 = it is no field.
inline std::size_t colon_of(std::string_view line, std::size_t& name_bytes) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || colon > kFieldNameBytesMax) return 0;
  std::string_view name = line.substr(0, colon);
  while (name.ends_with(' ') || name.ends_with('\t')) name.remove_suffix(1);
  for (const char c : name) {
    if (c < 33 || c > 126) return 0;
  }
  name_bytes = name.size();
  return name.empty() ? 0 : colon;
}

inline ReferenceHeader reference_header(std::string_view message, std::size_t header_bytes_max,
                                        std::size_t fields_max) {
  ReferenceHeader header;
  std::size_t at = 0;
  bool in_field = false;
  // Gives the open field its end; false when that breaks a limit.
  const auto end_field = [&](std::size_t end) {
    if (!in_field) return true;
    in_field = false;
    header.fields.back().end = end;
    if (header.fields.size() <= fields_max) return true;
    header.fields.pop_back();
    header.status = HeaderStatus::kTooManyFields;
    return false;
  };
  while (at < message.size()) {
    const std::size_t crlf = message.find("\r\n", at);
    const bool ended = crlf != std::string_view::npos;
    const std::size_t next = ended ? crlf + 2 : message.size();
    const std::string_view line = message.substr(at, (ended ? crlf : next) - at);
    const bool continues = in_field && (line.starts_with(' ') || line.starts_with('\t'));
    if (!continues) {
      if (!end_field(at)) return header;
      std::size_t name_bytes = 0;
      const std::size_t colon = colon_of(line, name_bytes);
      if (colon == 0) {
        header.header_bytes = at;
        const bool empty = line.empty() && ended;
        const bool space = at == 0 && line.find_first_of(" \t\v\f") == 0;
        header.end = empty   ? HeaderEnd::kEmptyLine
                     : space ? HeaderEnd::kFirstSpace
                             : HeaderEnd::kNoField;
        header.body_begin = empty ? next : at;
        return header;
      }
      header.fields.push_back({at, name_bytes, at + colon + 1, 0});
      in_field = true;
    }
    if (next > header_bytes_max) {
      header.fields.pop_back();
      header.status = HeaderStatus::kTooLarge;
      return header;
    }
    at = next;
  }
  if (!end_field(at)) return header;
  header.header_bytes = header.body_begin = at;
  return header;
}

}  // namespace mxring::mail
