// The pure parts of the sinks: signatures, what answers mean, where a stream stands, addresses.
#include <gtest/gtest.h>

#include "base/base64.h"
#include "relay/config_check.h"
#include "relay/filter.h"
#include "relay/nats_place.h"
#include "relay/webhook_reply.h"
#include "relay/webhook_signature.h"

namespace mxring::relay {
namespace {

TEST(SignatureTest, HmacOfRfc4231) {
  const auto hex = [](std::string_view key, std::string_view text) {
    return crypto::to_hex(hmac_sha256(key, text.substr(0, 5), text.substr(5)));
  };
  EXPECT_EQ(hex(std::string(20, '\x0b'), "Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  EXPECT_EQ(hex(std::string(131, '\xaa'), "Test Using Larger Than Block-Size Key - Hash Key First"),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST(SignatureTest, SecretsAreRead) {
  const std::string secret = "whsec_" + base::encode_base64(std::string(24, 'k'));
  const auto two = WebhookSecrets::parse("# old\n" + secret + "\n\n" + secret + "\r\n");
  ASSERT_TRUE(two.has_value());
  const std::string signature = two->sign("id", 1, "body");
  EXPECT_EQ(std::count(signature.begin(), signature.end(), ' '), 1);
  EXPECT_TRUE(signature.starts_with("v1,"));
  EXPECT_FALSE(WebhookSecrets::parse("").has_value());
  EXPECT_FALSE(WebhookSecrets::parse("whsec_AAAA\n").has_value()) << "too short";
  EXPECT_FALSE(WebhookSecrets::parse("secret\n").has_value());
}

Outcome judged(int code, std::int64_t retry_after_s = 0) {
  HttpAnswer answer;
  answer.code = code;
  answer.retry_after_s = retry_after_s;
  answer.error = "no answer";
  return judge(answer);
}

TEST(WebhookReplyTest, EveryCodeHasItsMeaning) {
  using Kind = Outcome::Kind;
  for (const int code : {200, 201, 202, 204, 299}) EXPECT_EQ(judged(code).kind, Kind::kDone);
  for (const int code : {0, 301, 302, 307, 408, 425, 429, 500, 502, 503, 504, 599}) {
    EXPECT_EQ(judged(code).kind, Kind::kLater) << code;
  }
  for (const int code : {400, 401, 403, 404, 406, 413, 422}) {
    EXPECT_EQ(judged(code).kind, Kind::kForGood) << code;
  }
  EXPECT_EQ(judged(410).kind, Kind::kPause);
  EXPECT_EQ(judged(429, 30).wait_ns, 30 * base::kNsPerSecond);
  EXPECT_TRUE(judged(503, 30).everybody);
  EXPECT_EQ(judged(503, 1'000'000'000).wait_ns, 24 * 3600 * base::kNsPerSecond);
}

std::string id_of(Offset offset) {
  return std::string(32, 'a') + "_" + std::to_string(offset);
}

TEST(NatsPlaceTest, WhereAStreamStands) {
  NatsMemory memory;
  memory.begin = 5;
  // A new group on a new stream.
  auto place = place_of({100, 0, 0, ""}, memory, 5, 0);
  ASSERT_TRUE(place.has_value());
  EXPECT_EQ(place->next, 5U);
  EXPECT_TRUE(place->expected_id.empty());
  // The stream knows better than the cursor, in both directions.
  memory.created_ns = 100;
  memory.next = 50;
  for (const Offset last : {Offset{60}, Offset{30}}) {
    place = place_of({100, 10, 77, id_of(last)}, memory, 40, 0);
    ASSERT_TRUE(place.has_value());
    EXPECT_EQ(place->next, last + 1);
    EXPECT_EQ(place->expected_id, id_of(last));
  }
  // Emptied by those who read it: nothing again.
  place = place_of({100, 0, 77, ""}, memory, 40, 0);
  EXPECT_EQ(place->next, 50U);
  EXPECT_EQ(place->expected_sequence, 77U);
  // Made anew: filled again, as far back as the log goes.
  place = place_of({200, 0, 0, ""}, memory, 40, 0);
  EXPECT_EQ(place->next, 5U);
  place = place_of({200, 0, 0, ""}, memory, 40, 20);
  EXPECT_EQ(place->next, 20U);
  // Moved by hand: from there on, after whatever the stream has.
  memory.moved = true;
  place = place_of({100, 10, 77, id_of(60)}, memory, 3, 0);
  EXPECT_EQ(place->next, 3U);
  EXPECT_EQ(place->expected_id, id_of(60));
  // Somebody else's.
  EXPECT_FALSE(place_of({100, 10, 77, "mine"}, memory, 3, 0).has_value());
}

TEST(NatsPlaceTest, GapsHaveIdsToo) {
  const auto gap = parse_id(std::string(32, 'a') + "_7-12");
  ASSERT_TRUE(gap.has_value());
  EXPECT_EQ(gap->next, 12U);
  EXPECT_FALSE(parse_id(std::string(32, 'a') + "_").has_value());
  EXPECT_FALSE(parse_id(std::string(32, 'A') + "_7").has_value());
  EXPECT_FALSE(parse_id("x_7").has_value());
}

TEST(AddressTest, PrivateInAllItsForms) {
  for (const char* text : {"127.0.0.1",
                           "10.1.2.3",
                           "172.16.0.1",
                           "172.31.255.255",
                           "192.168.0.1",
                           "169.254.169.254",
                           "100.64.0.1",
                           "0.0.0.0",
                           "255.255.255.255",
                           "224.0.0.1",
                           "198.18.0.1",
                           "::1",
                           "::",
                           "fe80::1",
                           "fc00::1",
                           "fd12::1",
                           "ff02::1",
                           "::ffff:127.0.0.1",
                           "::ffff:10.0.0.1",
                           "64:ff9b::7f00:1",
                           "64:ff9b:1::1",
                           "2002:a00:1::",
                           "::127.0.0.1"}) {
    EXPECT_TRUE(is_private_address(text)) << text;
  }
  for (const char* text : {"8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "2606:4700::1",
                           "64:ff9b::808:808"}) {
    EXPECT_FALSE(is_private_address(text)) << text;
  }
}

TEST(FilterTest, Patterns) {
  EXPECT_TRUE(like("*@tickets.example.org", "A@Tickets.Example.org"));
  EXPECT_FALSE(like("*@tickets.example.org", "a@example.org"));
  EXPECT_TRUE(like("*", ""));
  EXPECT_TRUE(like("a*b*c", "aXXbYYc"));
  EXPECT_FALSE(like("a*b*c", "aXXbYY"));
}

}  // namespace
}  // namespace mxring::relay
