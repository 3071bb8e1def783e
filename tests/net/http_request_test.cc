// Heads of HTTP requests: whole, cut at every byte, pipelined, and such that two servers could read
// them in two ways.
#include "net/http_request.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mxring::net {
namespace {

using State = HttpParse::State;
using Kind = HttpRange::Kind;
using namespace std::string_literals;

// With each prefix, and with more after it: what is said stays said.
State state_of(const std::string& bytes) {
  const HttpParse whole = parse_http_request(bytes);
  bool decided = false;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const HttpParse part = parse_http_request(std::string_view(bytes).substr(0, size));
    if (part.state == State::kMore) {
      EXPECT_FALSE(decided) << size;
      continue;
    }
    decided = true;
    EXPECT_EQ(part.state, whole.state) << size;
    EXPECT_EQ(part.bytes, whole.bytes) << size;
  }
  if (whole.state != State::kMore) {
    const HttpParse more = parse_http_request(bytes + "GET /next HTTP/1.1\r\n");
    EXPECT_EQ(more.state, whole.state);
    EXPECT_EQ(more.bytes, whole.bytes);
  }
  return whole.state;
}

HttpRequest request(const std::string& bytes) {
  EXPECT_EQ(state_of(bytes), State::kRequest) << bytes;
  static std::vector<std::string> kept;
  kept.push_back(bytes);
  return parse_http_request(kept.back()).request;
}

TEST(HttpRequest, PartsOfAnOrdinaryHead) {
  const HttpRequest got = request(
      "GET /v1/records?from=5&wait=1 HTTP/1.1\r\nhost: mx.test:99\r\n"
      "AUTHORIZATION:  Bearer abc \r\nRange: bytes=1-\r\nIf-Range: \"x\"\r\n\r\n");
  EXPECT_EQ(got.method, "GET");
  EXPECT_EQ(got.path, "/v1/records");
  EXPECT_EQ(got.query, "from=5&wait=1");
  EXPECT_EQ(got.host, "mx.test:99");
  EXPECT_EQ(bearer_token(got.authorization), "abc");
  EXPECT_EQ(got.range, "bytes=1-");
  EXPECT_EQ(got.if_range, "\"x\"");
  EXPECT_TRUE(got.keep_alive);
  EXPECT_FALSE(got.has_body);
}

TEST(HttpRequest, ConnectionsEndAsTheClientWants) {
  EXPECT_FALSE(request("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n").keep_alive);
  EXPECT_FALSE(request("GET / HTTP/1.0\r\n\r\n").keep_alive);
  EXPECT_TRUE(request("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").keep_alive);
}

TEST(HttpRequest, AnAbsoluteTargetGoesOverHost) {
  const HttpRequest got = request("GET HTTP://mx.test:1/a?b HTTP/1.1\r\nHost: other.test\r\n\r\n");
  EXPECT_EQ(got.host, "mx.test:1");
  EXPECT_EQ(got.path, "/a");
  EXPECT_EQ(got.query, "b");
  EXPECT_EQ(request("GET http://h HTTP/1.1\r\nHost: h\r\n\r\n").path, "/");
}

TEST(HttpRequest, ABodyIsAnnounced) {
  EXPECT_FALSE(request("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").has_body);
  EXPECT_TRUE(request("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 07\r\n\r\n").has_body);
  EXPECT_TRUE(request("GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").has_body);
}

TEST(HttpRequest, WhatCouldBeReadInTwoWaysIsMalformed) {
  const std::string host = "Host: h\r\n";
  for (const std::string& bytes : {
           "GET / HTTP/1.1\nHost: h\n\n"s,
           "GET / HTTP/1.1\r\nHost: h\n\r\n"s,
           "GET / HTTP/1.1\r\n\r\n"s,
           "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"s,
           "GET / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 1\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "X : y\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "X: y\r\n folded\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "no colon\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "X: a\0b\r\n\r\n"s,
           "GET / HTTP/1.1\r\n" + host + "X: a\rb\r\n\r\n",
           "GET / HTTP/1.1\r\n" + host + "Authorization: a\r\nAuthorization: b\r\n\r\n",
           "GET  / HTTP/1.1\r\n" + host + "\r\n",
           "GET a HTTP/1.1\r\n" + host + "\r\n",
           "GET /#a HTTP/1.1\r\n" + host + "\r\n",
           "GET /\xc3\xa9 HTTP/1.1\r\n" + host + "\r\n",
           "GET http://u@h/ HTTP/1.1\r\n" + host + "\r\n",
           "G(T / HTTP/1.1\r\n" + host + "\r\n",
           "GET / HTTP/x.1\r\n" + host + "\r\n",
           "GET /\r\n"s,
           "\x16\x03\x01\x02\x00\x01\x00\n"s,
       }) {
    EXPECT_EQ(state_of(bytes), State::kMalformed) << bytes;
  }
  EXPECT_EQ(state_of("GET / HTTP/2.0\r\nHost: h\r\n\r\n"), State::kNoVersion);
}

TEST(HttpRequest, AHeadIsBounded) {
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\n";
  const std::string rest(kHttpHeadBytesMax - start.size() - 7, 'a');
  EXPECT_EQ(state_of(start + "X: " + rest + "\r\n\r\n"), State::kRequest);
  EXPECT_EQ(state_of(start + "X: " + rest + "a\r\n\r\n"), State::kTooLarge);
  EXPECT_EQ(state_of(std::string(kHttpHeadBytesMax, 'a')), State::kTooLarge);
  std::string fields = start;
  for (std::size_t i = 1; i < kHttpFieldsMax; ++i) fields += "A: b\r\n";
  EXPECT_EQ(state_of(fields + "\r\n"), State::kRequest);
  EXPECT_EQ(state_of(fields + "A: b\r\n\r\n"), State::kTooLarge);
}

TEST(HttpRequest, ValuesOfAQuery) {
  EXPECT_EQ(query_value("a=1&b=x%2Fy+z&c", "b"), "x/y z");
  EXPECT_EQ(query_value("a=1&b=x&c", "c"), "");
  EXPECT_EQ(query_value("a=1", "b"), std::nullopt);
  for (const char* broken : {"a=%", "a=%4", "a=%zz"}) {
    bool good = true;
    query_value(broken, "a", &good);
    EXPECT_FALSE(good) << broken;
  }
  std::string names;
  for_each_query_name("a=1&&b&c=d", [&](std::string_view name) { names += name; });
  EXPECT_EQ(names, "abc");
}

TEST(HttpRequest, WhoseNameItIs) {
  const std::vector<std::string> names{"mx.test"};
  for (const char* host : {"mx.test", "MX.test:80", "127.0.0.1:1", "[::1]:1", "localhost"}) {
    EXPECT_TRUE(is_host_of(host, names)) << host;
  }
  for (const char* host : {"", "evil.test", "mx.test.evil.test", "127.0.0.1.evil.test"}) {
    EXPECT_FALSE(is_host_of(host, names)) << host;
  }
}

TEST(HttpRequest, Tokens) {
  EXPECT_EQ(bearer_token("bearer  x"), "x");
  EXPECT_EQ(bearer_token("Basic x"), "");
  EXPECT_EQ(bearer_token("Bearer"), "");
  EXPECT_TRUE(same_secret("abc", "abc"));
  EXPECT_FALSE(same_secret("abc", "abd"));
  EXPECT_FALSE(same_secret("abc", "ab"));
  EXPECT_FALSE(same_secret("", "a"));
}

void expect_range(const char* field, Kind kind, std::uint64_t begin, std::uint64_t end) {
  const HttpRange got = parse_http_range(field, 100);
  EXPECT_EQ(got.kind, kind) << field;
  EXPECT_EQ(got.begin, begin) << field;
  EXPECT_EQ(got.end, end) << field;
}

TEST(HttpRequest, Ranges) {
  expect_range("bytes=0-0", Kind::kPart, 0, 1);
  expect_range("Bytes=10-", Kind::kPart, 10, 100);
  expect_range("bytes=10-999", Kind::kPart, 10, 100);
  expect_range("bytes=99-99999999999999999999999", Kind::kPart, 99, 100);
  expect_range("bytes=-5", Kind::kPart, 95, 100);
  expect_range("bytes=-500", Kind::kPart, 0, 100);
  expect_range("bytes=100-", Kind::kNone, 0, 0);
  expect_range("bytes=99999999999999999999999-", Kind::kNone, 0, 0);
  expect_range("bytes=-0", Kind::kNone, 0, 0);
  for (const char* ignored :
       {"", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=0-1,5-6", "lines=0-1"}) {
    expect_range(ignored, Kind::kAll, 0, 100);
  }
  EXPECT_EQ(parse_http_range("bytes=0-", 0).kind, Kind::kNone);
}

TEST(HttpRequest, EntityTags) {
  EXPECT_TRUE(has_entity_tag("\"a\", W/\"b\"", "\"b\""));
  EXPECT_TRUE(has_entity_tag("*", "\"b\""));
  EXPECT_FALSE(has_entity_tag("\"a\"", "\"b\""));
  EXPECT_FALSE(has_entity_tag("", "\"b\""));
}

}  // namespace
}  // namespace mxring::net
