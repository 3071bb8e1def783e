// The head of an HTTP/1.1 request (RFC 9110, 9112) for the servers of ours that answer GET and
// HEAD, and what such a server asks of its fields: the token, whose name it was asked under, which
// range of a body is wanted, whether the asker has it already.
//
// parse_http_request() looks at the beginning of what a connection has received. It says kMore
// while the head is not whole, else how many bytes it took; more bytes after them change nothing of
// what was said, so that requests may be pipelined and come in any pieces. What two servers could
// read in two ways (a line end of LF alone, folded lines, blanks before a colon, Host twice, a
// length twice) is malformed: nothing follows on that connection.
//
// Pure; views point into the bytes given.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace mxring::net {

constexpr std::size_t kHttpHeadBytesMax = 16 * 1024;
constexpr std::size_t kHttpFieldsMax = 64;

struct HttpRequest {
  std::string_view method;
  std::string_view path;   // without the query, as it stands there
  std::string_view query;  // after '?'; "" without one
  std::string_view host;   // of the target when it has one, else of the field
  std::string_view authorization;
  std::string_view range;
  std::string_view if_range;
  std::string_view if_none_match;
  bool has_body = false;   // announces one, which is not read
  bool keep_alive = true;  // the client would ask more on this connection
  bool is_11 = true;       // HTTP/1.1, else 1.0
};

struct HttpParse {
  enum class State : std::uint8_t {
    kMore,
    kRequest,
    kMalformed,
    kTooLarge,   // more than kHttpHeadBytesMax, or more than kHttpFieldsMax fields
    kNoVersion,  // HTTP, but neither 1.0 nor 1.1
  };
  State state = State::kMore;
  std::size_t bytes = 0;  // of the head, its empty line included; kRequest
  HttpRequest request;
};
HttpParse parse_http_request(std::string_view bytes);

// The value of `name` in a query, %-escapes and '+' undone; nothing when it is not there. False in
// `well_formed` when an escape is none.
std::optional<std::string> query_value(std::string_view query, std::string_view name,
                                       bool* well_formed = nullptr);
// Calls `visit` with each name as it stands there.
template <class Visit>
void for_each_query_name(std::string_view query, Visit&& visit) {
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(pair.size() < query.size() ? pair.size() + 1 : query.size());
    if (!pair.empty()) visit(pair.substr(0, pair.find('=')));
  }
}

// Whether a Host names an address, localhost, or one of `names`: else somebody's browser was led
// here under a name of theirs.
bool is_host_of(std::string_view host, std::span<const std::string> names);

// The token of "Bearer TOKEN"; "" when there is none.
std::string_view bearer_token(std::string_view authorization);
// Takes as long whichever byte differs.
bool same_secret(std::string_view a, std::string_view b);

// Which bytes of `size` a Range field wants (RFC 9110 14.2). More than one range is answered with
// all of them, as it may be.
struct HttpRange {
  enum class Kind : std::uint8_t { kAll, kPart, kNone /* 416 */ };
  Kind kind = Kind::kAll;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};
HttpRange parse_http_range(std::string_view field, std::uint64_t size);

// Whether an If-None-Match has this strong entity tag, or "*".
bool has_entity_tag(std::string_view field, std::string_view tag);

}  // namespace mxring::net
