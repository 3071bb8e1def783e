#include "smtp/xclient.h"

#include <gtest/gtest.h>

namespace mxring::smtp {
namespace {

TEST(XclientTest, AllAttributes) {
  const auto facts = parse_xclient(
      "NAME=mail.example.net ADDR=192.0.2.7 PORT=40123 PROTO=ESMTP HELO=host.example LOGIN=joe "
      "DESTADDR=IPV6:2001:db8::25 DESTPORT=25");
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->name, "mail.example.net");
  EXPECT_EQ(facts->address->to_string(), "192.0.2.7");
  EXPECT_EQ(facts->port, 40123);
  EXPECT_EQ(facts->protocol, "ESMTP");
  EXPECT_EQ(facts->helo, "host.example");
  EXPECT_EQ(facts->destination->to_string(), "2001:db8::25");
  EXPECT_EQ(facts->destination_port, 25);
}

TEST(XclientTest, WhatTheProxyDoesNotKnow) {
  const auto facts = parse_xclient("name=[UNAVAILABLE] helo=[TEMPUNAVAIL] addr=ipv6:::1");
  ASSERT_TRUE(facts.has_value());
  EXPECT_EQ(facts->name, "");
  EXPECT_FALSE(facts->helo.has_value());
  EXPECT_TRUE(facts->address->is_loopback());
  EXPECT_FALSE(facts->port.has_value());
}

TEST(XclientTest, ValuesAreXtext) {
  EXPECT_EQ(parse_xclient("HELO=a+2Bb+3dc")->helo, "a+b=c");
  EXPECT_EQ(parse_xclient("HELO=[192.0.2.1]")->helo, "[192.0.2.1]");
  for (const char* bad :
       {"HELO=a+2", "HELO=a+", "HELO=+0D+0Ax", "HELO=", "HELO=+zz", "HELO=\xff"}) {
    EXPECT_EQ(parse_xclient(bad).error(), XclientError::kValue) << bad;
  }
  EXPECT_FALSE(parse_xclient("HELO=" + std::string(1025, 'a')).has_value());
}

TEST(XclientTest, WhatIsNotXclient) {
  for (const char* bad : {"", " ", "ADDR", "=192.0.2.1", "ADDR=192.0.2.1 x"}) {
    EXPECT_EQ(parse_xclient(bad).error(), XclientError::kSyntax) << bad;
  }
  for (const char* bad : {"COLOR=red", "PORT=1 PORT=2", "NAME=a NAME=a"}) {
    EXPECT_EQ(parse_xclient(bad).error(), XclientError::kAttribute) << bad;
  }
  for (const char* bad : {"ADDR=host", "ADDR=IPV6:192.0.2.1", "PORT=65536", "PORT=-1", "PORT=1x",
                          "PROTO=HTTP", "DESTADDR=1.2.3"}) {
    EXPECT_EQ(parse_xclient(bad).error(), XclientError::kValue) << bad;
  }
}

}  // namespace
}  // namespace mxring::smtp
