#include "net/http_request.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/assert.h"
#include "base/ip_address.h"
#include "base/text.h"

namespace mxring::net {

namespace {

using State = HttpParse::State;

// RFC 9110 5.6.2.
bool is_token_char(char c) {
  const bool alphanumeric =
      (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return alphanumeric || std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_char);
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// RFC 9110 5.5: no control characters but the tab.
bool is_field_value(std::string_view text) {
  return std::ranges::all_of(text, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte == '\t' || (byte >= 0x20 && byte != 0x7f);
  });
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

// Calls `visit` with each member of a list that is separated by commas.
template <class Visit>
void for_each_member(std::string_view list, Visit&& visit) {
  while (!list.empty()) {
    const std::string_view member = list.substr(0, list.find(','));
    list.remove_prefix(std::min(member.size() + 1, list.size()));
    visit(trimmed(member));
  }
}

// What a head has said so far that may be said once only.
struct Seen {
  bool host = false;
  bool length = false;
  bool authorization = false;
  bool range = false;
  bool if_range = false;
};

// Origin form, or absolute form, whose authority goes over Host (RFC 9112 3.2.2).
bool read_target(std::string_view target, HttpRequest& request) {
  constexpr std::string_view kScheme = "http://";
  constexpr std::string_view kSecure = "https://";
  const auto has = [target](std::string_view scheme) {
    return target.size() > scheme.size() &&
           base::ascii_iequals(target.substr(0, scheme.size()), scheme);
  };
  const std::size_t scheme = has(kScheme) ? kScheme.size() : has(kSecure) ? kSecure.size() : 0;
  if (scheme > 0) {
    target.remove_prefix(scheme);
    const std::size_t slash = target.find_first_of("/?");
    request.host = target.substr(0, slash);
    if (request.host.empty() || request.host.find('@') != request.host.npos) return false;
    target = slash == target.npos ? std::string_view("/") : target.substr(slash);
  }
  if (target.empty() || target.front() != '/') return false;
  const bool printable = std::ranges::all_of(target, [](char c) { return c > 0x20 && c < 0x7f; });
  const std::size_t question = target.find('?');
  request.path = target.substr(0, question);
  if (question != target.npos) request.query = target.substr(question + 1);
  return printable && target.find('#') == target.npos;
}

State read_request_line(std::string_view line, HttpRequest& request) {
  const std::size_t first = line.find(' ');
  const std::size_t last = line.rfind(' ');
  if (first == line.npos || first == last) return State::kMalformed;
  request.method = line.substr(0, first);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(request.method) || version.size() != 8 || !version.starts_with("HTTP/") ||
      !is_digits(version.substr(5, 1)) || version[6] != '.' || !is_digits(version.substr(7))) {
    return State::kMalformed;
  }
  if (!read_target(line.substr(first + 1, last - first - 1), request)) return State::kMalformed;
  if (version[5] != '1') return State::kNoVersion;
  request.is_11 = version[7] != '0';
  request.keep_alive = request.is_11;
  return State::kRequest;
}

bool once(bool& seen, std::string_view value, std::string_view& into) {
  if (std::exchange(seen, true)) return false;
  into = value;
  return true;
}

bool read_field(std::string_view line, HttpRequest& request, Seen& seen, bool absolute) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos || !is_token(line.substr(0, colon))) return false;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (!is_field_value(value)) return false;
  const auto is = [name](std::string_view known) { return base::ascii_iequals(name, known); };
  if (is("Host")) {
    std::string_view host;
    if (!once(seen.host, value, host)) return false;
    if (!absolute) request.host = host;
  } else if (is("Authorization")) {
    return once(seen.authorization, value, request.authorization);
  } else if (is("Range")) {
    return once(seen.range, value, request.range);
  } else if (is("If-Range")) {
    return once(seen.if_range, value, request.if_range);
  } else if (is("If-None-Match")) {
    request.if_none_match = value;
  } else if (is("Transfer-Encoding")) {
    request.has_body = true;
  } else if (is("Content-Length")) {
    if (std::exchange(seen.length, true) || !is_digits(value)) return false;
    if (value.find_first_not_of('0') != value.npos) request.has_body = true;
  } else if (is("Connection")) {
    for_each_member(value, [&request](std::string_view option) {
      if (base::ascii_iequals(option, "close")) request.keep_alive = false;
      if (base::ascii_iequals(option, "keep-alive") && !request.is_11) request.keep_alive = true;
    });
  }
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = base::ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool unescape(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] != '%') {
      out += text[i];
    } else {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0) return false;
      MXRING_ASSERT(high < 16 && low < 16);
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return true;
}

}  // namespace

HttpParse parse_http_request(std::string_view bytes) {
  HttpParse parsed;
  const auto done = [&parsed](State state) {
    parsed.state = state;
    return parsed;
  };
  Seen seen;
  bool absolute = false;
  std::size_t at = 0;
  for (std::size_t lines = 0;; ++lines) {
    const std::size_t end = bytes.find('\n', at);
    // A head that has no room left is too large, whatever else may come of it.
    if (end == bytes.npos || end >= kHttpHeadBytesMax) {
      return done(bytes.size() >= kHttpHeadBytesMax ? State::kTooLarge : State::kMore);
    }
    if (end == at || bytes[end - 1] != '\r') return done(State::kMalformed);
    const std::string_view line = bytes.substr(at, end - 1 - at);
    MXRING_ASSERT(line.find('\n') == line.npos);
    at = end + 1;
    if (lines == 0) {
      const State state = read_request_line(line, parsed.request);
      if (state != State::kRequest) return done(state);
      absolute = !parsed.request.host.empty();
      continue;
    }
    if (line.empty()) break;
    if (lines > kHttpFieldsMax) return done(State::kTooLarge);
    if (!read_field(line, parsed.request, seen, absolute)) return done(State::kMalformed);
  }
  if (parsed.request.is_11 && !seen.host) return done(State::kMalformed);
  MXRING_ASSERT(at <= bytes.size() && at <= kHttpHeadBytesMax);
  MXRING_ASSERT(!parsed.request.method.empty() && parsed.request.path.starts_with('/'));
  parsed.bytes = at;
  return done(State::kRequest);
}

std::optional<std::string> query_value(std::string_view query, std::string_view name,
                                       bool* well_formed) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
    const std::size_t equals = pair.find('=');
    if (pair.substr(0, equals) != name) continue;
    std::string value;
    const bool good = equals == pair.npos || unescape(pair.substr(equals + 1), value);
    if (!good && well_formed != nullptr) *well_formed = false;
    return value;
  }
  return std::nullopt;
}

bool is_host_of(std::string_view host, std::span<const std::string> names) {
  const std::size_t bracket = host.find(']');
  const std::size_t colon = host.find(':', bracket == host.npos ? 0 : bracket);
  std::string_view name = host.substr(0, colon);
  if (name.starts_with('[') && name.ends_with(']')) name = name.substr(1, name.size() - 2);
  if (base::IpAddress::parse(name) || base::ascii_iequals(name, "localhost")) return true;
  return std::ranges::any_of(
      names, [&](const std::string& ours) { return base::ascii_iequals(name, ours); });
}

std::string_view bearer_token(std::string_view authorization) {
  constexpr std::string_view kBearer = "Bearer ";
  if (authorization.size() <= kBearer.size() ||
      !base::ascii_iequals(authorization.substr(0, kBearer.size()), kBearer)) {
    return {};
  }
  return trimmed(authorization.substr(kBearer.size()));
}

bool same_secret(std::string_view a, std::string_view b) {
  unsigned differs = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i) {
    differs |= static_cast<unsigned>(a[i] ^ (i < b.size() ? b[i] : '\0'));
  }
  return differs == 0;
}

namespace {

bool parse_position(std::string_view text, std::uint64_t& out) {
  if (!is_digits(text)) return false;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), out);
  if (read.ec == std::errc::result_out_of_range) out = ~std::uint64_t{0};
  return true;
}

}  // namespace

// What is malformed is as if it were not there (RFC 9110 14.2).
HttpRange parse_http_range(std::string_view field, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const HttpRange all{HttpRange::Kind::kAll, 0, size};
  const HttpRange none{HttpRange::Kind::kNone, 0, 0};
  if (field.size() <= kUnit.size() || !base::ascii_iequals(field.substr(0, kUnit.size()), kUnit)) {
    return all;
  }
  const std::string_view spec = trimmed(field.substr(kUnit.size()));
  const std::size_t dash = spec.find('-');
  if (dash == spec.npos || spec.find(',') != spec.npos) return all;
  std::uint64_t first = 0;
  std::uint64_t last = ~std::uint64_t{0};
  const std::string_view from = spec.substr(0, dash);
  const std::string_view to = spec.substr(dash + 1);
  if (from.empty()) {
    std::uint64_t suffix = 0;
    if (!parse_position(to, suffix)) return all;
    if (suffix == 0 || size == 0) return none;
    MXRING_ASSERT(std::min(suffix, size) > 0);
    return {HttpRange::Kind::kPart, size - std::min(suffix, size), size};
  }
  if (!parse_position(from, first) || (!to.empty() && !parse_position(to, last)) || last < first) {
    return all;
  }
  if (first >= size) return none;
  MXRING_ASSERT(first <= last && first < size);
  return {HttpRange::Kind::kPart, first, last >= size ? size : last + 1};
}

bool has_entity_tag(std::string_view field, std::string_view tag) {
  bool found = false;
  for_each_member(field, [&](std::string_view member) {
    if (member.starts_with("W/")) member.remove_prefix(2);  // compared weakly (RFC 9110 13.1.2)
    found = found || member == "*" || member == tag;
  });
  return found;
}

}  // namespace mxring::net
