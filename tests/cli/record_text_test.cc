// The JSON object of a record, whose keys and their order other programs rely on, and that nothing
// from the network reaches a terminal unescaped.
#include "cli/record_text.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace mxring::cli {
namespace {

Record sample() {
  Record record;
  record.offset = 42;
  record.received_at_us = 1'795'309'323'456'789;
  record.client_ip = "192.0.2.1";
  record.client_port = 50412;
  record.helo = "client.test";
  record.protocol = "ESMTP";
  record.mail_from = "a@client.test";
  record.rcpt_to = {{"b@mx.test", "", 0}, {"c@mx.test", "", 0}};
  record.disposition = "accept";
  record.message = "abc";
  return record;
}

TEST(RecordText, JsonKeysAndAbsentValues) {
  EXPECT_EQ(record_json(sample()),
            R"({"id":null,"offset":42,"received_at":"2026-11-22T01:02:03.456Z",)"
            R"("client":{"ip":"192.0.2.1","port":50412,"helo":"client.test","name":null,)"
            R"("via":null},)"
            R"("tls":null,"mail_from":"a@client.test","rcpt_to":["b@mx.test","c@mx.test"],)"
            R"("size":3,)"
            R"("sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",)"
            R"("spf":null,"dkim":[],"dmarc":null,"disposition":"accept",)"
            R"("message_id":null,"subject":null,"from":null,"queue_id":null,)"
            R"("protocol":"ESMTP","body_type":null,"smtputf8":false,"requiretls":false,)"
            R"("long_line":false,"binary":false,"envid":null,"ret":null,)"
            R"("recipients":[{"address":"b@mx.test","orcpt":null,"notify":[]},)"
            R"({"address":"c@mx.test","orcpt":null,"notify":[]}]})"
            "\n");
}

TEST(RecordText, WhatABounceProcessorAsksFor) {
  Record record = sample();
  record.body_type = "8bitmime";
  record.smtputf8 = record.requiretls = record.has_long_line = true;
  record.envelope_id = "QQ314159";
  record.dsn_return = "hdrs";
  record.rcpt_to = {{"b@mx.test", "rfc822;bob@old.test", 2 | 4}, {"c@mx.test", "", 1}};
  const std::string json = record_json(record);
  EXPECT_NE(json.find(R"("protocol":"ESMTP","body_type":"8bitmime","smtputf8":true,)"
                      R"("requiretls":true,"long_line":true,"binary":false,"envid":"QQ314159",)"
                      R"("ret":"hdrs",)"
                      R"("recipients":[{"address":"b@mx.test","orcpt":"rfc822;bob@old.test",)"
                      R"("notify":["success","failure"]},)"
                      R"({"address":"c@mx.test","orcpt":null,"notify":["never"]}]})"),
            std::string::npos)
      << json;
}

TEST(RecordText, StoredVerdictsGoOutAsTheyAre) {
  Record record = sample();
  record.client_name = "mail.client.test";
  record.tls = R"({"version":"TLSv1.3","cipher":"X","sni":null,"resumed":false})";
  record.spf = R"({"result":"pass"})";
  record.dkim = R"([{"result":"fail"}])";
  record.dmarc = R"({"result":"none"})";
  const std::string json = record_json(record);
  EXPECT_NE(
      json.find(
          R"("name":"mail.client.test","via":null},"tls":{"version":"TLSv1.3","cipher":"X",)"),
      std::string::npos);
  EXPECT_NE(record_listing(record, false).find(", TLSv1.3 X\n"), std::string::npos);
  EXPECT_NE(json.find(R"("spf":{"result":"pass"},"dkim":[{"result":"fail"}],)"
                      R"("dmarc":{"result":"none"},"disposition":"accept",)"),
            std::string::npos);
}

TEST(RecordText, NothingFromTheNetworkMovesATerminal) {
  Record record = sample();
  record.helo = "evil\x1b[2J\r\n";
  record.mail_from = "\"\x07\"@client.test";
  record.rcpt_to = {{"\xff@mx.test", "", 0}};
  record.client_name = "\xc2\x9b.test";
  const std::string listing = record_listing(record, false);
  EXPECT_EQ(listing.find('\x1b'), std::string::npos);
  EXPECT_EQ(listing.find('\x07'), std::string::npos);
  EXPECT_NE(listing.find("evil\\x1b[2J\\x0d\\x0a"), std::string::npos) << listing;
  EXPECT_NE(listing.find("\\xff@mx.test"), std::string::npos) << listing;
  EXPECT_NE(listing.find("\\xc2\\x9b.test"), std::string::npos) << listing;
  EXPECT_EQ(std::count(listing.begin(), listing.end(), '\n'), 3);
  const std::string json = record_json(record);
  EXPECT_NE(json.find("evil\\u001b[2J\\u000d\\u000a"), std::string::npos) << json;
  EXPECT_NE(json.find("\xEF\xBF\xBD@mx.test"), std::string::npos) << json;
}

TEST(RecordText, ListingNamesAFewRecipientsAndCountsTheRest) {
  Record record = sample();
  record.rcpt_to.assign(20, {"b@mx.test", "", 0});
  EXPECT_NE(record_listing(record, false).find("<b@mx.test> and 15 more\n"), std::string::npos);
}

TEST(RecordText, ListingShowsTheVerdicts) {
  Record record = sample();
  record.spf = R"({"result":"pass"})";
  record.dkim =
      R"([{"domain":"a","result":"fail","reason":"\"result\":\"pass\""},{"result":"pass"}])";
  record.dmarc = R"({"result":"fail"})";
  const std::string listing = record_listing(record, false);
  EXPECT_NE(listing.find("\n    spf=pass dkim=fail+pass dmarc=fail\n"), std::string::npos)
      << listing;
  record.spf = record.dkim = record.dmarc = "";
  EXPECT_EQ(record_listing(record, false).find("spf="), std::string::npos);
}

TEST(RecordText, ColourOnlyWhenAsked) {
  EXPECT_EQ(record_listing(sample(), false).find('\x1b'), std::string::npos);
  EXPECT_TRUE(record_listing(sample(), true).starts_with("\x1b[1m42\x1b[0m"));
}

}  // namespace
}  // namespace mxring::cli
