// Kinds of messages, one feature a test. What real mail says is in corpora_test.py.
#include "decode/decode.h"

#include <gtest/gtest.h>

#include "decode/facts_json.h"
#include "tests/decode/messages.h"

namespace mxring::decode {
namespace {

std::string json(const Facts& facts) {
  base::JsonWriter writer;
  write_json(facts, writer);
  return std::move(writer).text();
}

bool has(const List<Text>& notes, std::string_view part) {
  for (const Text& note : notes) {
    if (note.find(part) != Text::npos) return true;
  }
  return false;
}

constexpr std::string_view kStatus =
    "Reporting-MTA: dns; mx.example\nArrival-Date: Thu, 29 Apr 2013 23:45:41 +0900 (JST)\n"
    "X-Queue: 7\n\n"
    "Final-Recipient: rfc822; b@example.com\nOriginal-Recipient: rfc822;B@example.com\n"
    "Action: Failed (bad address)\nStatus: 5.1.1 (unknown)\nRemote-MTA: dns; mail.example.com\n"
    "Diagnostic-Code: smtp; 550 5.1.1 unknown;\n really\nLast-Attempt-Date: 29 Apr 2013 14:45:41 "
    "GMT\n"
    "X-Own: 1\n\n"
    "Final-Recipient: rfc822; c@example.com\nAction: delayed\nStatus: 4.4.1\n"
    "Will-Retry-Until: 30 Apr 2013 14:45:41 +0000\n";

TEST(Bounce, EveryFieldOfRfc3464) {
  const Facts facts = decode(bounce_message(kStatus));
  ASSERT_EQ(facts.kind, Kind::kBounce);
  const Bounce& bounce = *facts.bounce;
  EXPECT_EQ(bounce.reporting_mta, "mx.example");
  EXPECT_EQ(bounce.reporting_mta_type, "dns");
  EXPECT_EQ(bounce.arrival_date, 1367246741);
  ASSERT_EQ(bounce.extensions.size(), 1U);
  EXPECT_EQ(bounce.extensions[0].name, "x_queue");
  ASSERT_EQ(bounce.recipients.size(), 2U);
  const BounceRecipient& first = bounce.recipients[0];
  EXPECT_EQ(first.final_recipient, "b@example.com");
  EXPECT_EQ(first.original_recipient, "B@example.com");
  EXPECT_EQ(first.action, "failed");
  EXPECT_EQ(first.status, "5.1.1");
  EXPECT_EQ(first.remote_mta, "mail.example.com");
  EXPECT_EQ(first.diagnostic_code, "550 5.1.1 unknown; really");
  EXPECT_EQ(first.diagnostic_code_type, "smtp");
  EXPECT_EQ(first.last_attempt_date, 1367246741);
  ASSERT_EQ(first.extensions.size(), 3U);
  EXPECT_EQ(first.extensions[0].value, "(bad address)");
  EXPECT_EQ(first.extensions[2].name, "x_own");
  EXPECT_EQ(bounce.recipients[1].will_retry_until, 1367333141);
  EXPECT_EQ(bounce.recipients[1].action, "delayed");
  ASSERT_TRUE(bounce.original);
  EXPECT_EQ(bounce.original->message_id, "1@example.org");
  EXPECT_EQ(bounce.original->from, "\xC3\x84nne <a@example.org>");
  EXPECT_EQ(bounce.original->return_path, "a@example.org");
  EXPECT_EQ(bounce.original->subject, "Hello");
  EXPECT_FALSE(bounce.original->headers_only);
  EXPECT_EQ(facts.message.text, "It failed.");
  EXPECT_TRUE(facts.derived.empty() && facts.limits.empty() && facts.defects.empty());
}

TEST(Bounce, ThePartDecidesNotTheTypeAroundIt) {
  EXPECT_EQ(decode(bounce_message(kStatus, "message/delivery-status", "multipart/mixed")).kind,
            Kind::kBounce);
  // A forwarded bounce is mail.
  std::string forwarded =
      "Content-Type: multipart/mixed; boundary=f\r\n\r\n--f\r\n"
      "Content-Type: message/rfc822\r\n\r\n" +
      bounce_message(kStatus) + "--f--\r\n";
  EXPECT_EQ(decode(forwarded).kind, Kind::kMail);
  const std::string single =
      crlf("Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nStatus: 5.0.0\n");
  ASSERT_EQ(decode(single).kind, Kind::kBounce);
  EXPECT_FALSE(decode(single).bounce->original);
}

TEST(Bounce, InternationalStatusOfRfc6533) {
  const std::string status =
      "Reporting-MTA: dns; mx\n\nFinal-Recipient: utf-8; \xC3\xA4@example.com\n"
      "Original-Recipient: utf-8; \\x{1F431}x@example.com\nAction: failed\n"
      "Status: 5.1.1\n";
  const Facts plain = decode(bounce_message(status, "message/global-delivery-status"));
  ASSERT_EQ(plain.kind, Kind::kBounce);
  EXPECT_EQ(plain.bounce->recipients[0].final_recipient, "\xC3\xA4@example.com");
  EXPECT_EQ(plain.bounce->recipients[0].original_recipient, "\xF0\x9F\x90\xB1x@example.com");
  const Facts encoded =
      decode(bounce_message(base::encode_base64(status),
                            "message/global-delivery-status\nContent-Transfer-Encoding: base64"));
  ASSERT_EQ(encoded.bounce->recipients.size(), 1U);
  EXPECT_EQ(encoded.bounce->recipients[0].status, "5.1.1");
}

TEST(Bounce, GroupsThatRunTogetherOrApart) {
  const Facts joined = decode(bounce_message(
      "Reporting-MTA: dns; mx\nFinal-Recipient: rfc822; a@x\nAction: failed\nStatus: 5.0.0\n"
      "Final-Recipient: rfc822; b@x\nAction: failed\nStatus: 4.0.0\n"));
  ASSERT_EQ(joined.bounce->recipients.size(), 2U);
  EXPECT_EQ(joined.bounce->reporting_mta, "mx");
  EXPECT_EQ(joined.bounce->recipients[1].status, "4.0.0");
  const Facts unfolded = decode(bounce_message(
      "Reporting-MTA: dns; mx\n\n\n\nFinal-Recipient: rfc822; a@x\nDiagnostic-Code: smtp; 550 no\n"
      "550 5.7.1 never\nStatus: 5.7.1\n"));
  ASSERT_EQ(unfolded.bounce->recipients.size(), 1U);
  EXPECT_EQ(unfolded.bounce->recipients[0].status, "5.7.1");
  EXPECT_TRUE(has(unfolded.defects, "no field"));
}

TEST(Bounce, AMissingStatusIsDerivedAndSaid) {
  const Facts facts = decode(
      bounce_message("Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@x\nAction: failed\n"
                     "Diagnostic-Code: smtp; 550-5.2.2 mailbox full 10.1.1.1\n"));
  EXPECT_EQ(facts.bounce->recipients[0].status, "5.2.2");
  EXPECT_TRUE(has(facts.derived, "bounce.recipients.status"));
}

TEST(Bounce, TokensFromTheRecipientOrTheOriginal) {
  const TokenPattern patterns[] = {*TokenPattern::parse("recipient: Bounces+{}@example.org"),
                                   *TokenPattern::parse("X-Campaign: {};*")};
  Options options;
  options.token_patterns = std::span(patterns).subspan(1);
  EXPECT_EQ(decode(bounce_message(kStatus), options).bounce->token, "c-77");
  options.token_patterns = std::span(patterns).first(1);
  const Facts written = decode(bounce_message(kStatus), options);
  EXPECT_EQ(written.bounce->token, "tok42");
  EXPECT_TRUE(has(written.derived, "bounce.token from To"));
  const std::string_view envelope[] = {"bounces+env@example.org"};
  options.envelope_recipients = envelope;
  const Facts known = decode(bounce_message(kStatus), options);
  EXPECT_EQ(known.bounce->token, "env");
  EXPECT_TRUE(known.derived.empty());
  const std::string_view other[] = {"postmaster@example.org"};
  options.envelope_recipients = other;
  EXPECT_FALSE(decode(bounce_message(kStatus), options).bounce->token);
}

TEST(TokenPattern, Mistakes) {
  for (const char* text :
       {"", "recipient", "X:", "X: *", "X: {}{}", "X: {}*", "X: {} {}", ": {}"}) {
    EXPECT_FALSE(TokenPattern::parse(text)) << text;
  }
  const TokenPattern pattern = *TokenPattern::parse("recipient: b-{}-*@*.org");
  EXPECT_EQ(pattern.find("b-12-x-y@mail.ORG"), "12");
  EXPECT_FALSE(pattern.find("b--x@mail.org"));
  EXPECT_FALSE(pattern.find("b-12-x@mail.org.evil"));
  EXPECT_FALSE(pattern.find("xb-12-x@mail.org"));
}

std::string complaint_message(std::string_view fields, std::string_view original) {
  std::string text =
      "Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\n"
      "--b\n\nSpam.\n--b\nContent-Type: message/feedback-report\n\n";
  text.append(fields).append("\n--b\nContent-Type: message/rfc822\n\n").append(original);
  return crlf(text + "\n--b--\n");
}

constexpr std::string_view kOriginal =
    "Return-Path: <a@example.org>\nDelivered-To: victim@example.com\n"
    "Received: from mx (mx [IPv6:2001:db8::1]) by in.example.com; 1 Jan 2020 00:00:00 +0000\n"
    "From: A <a@news.example.org>\nCFBL-Address: fbl@example.org; report=arf\n"
    "CFBL-Feedback-ID: 42:x\nMessage-ID: <m@example.org>\n\nspam\n";

TEST(Complaint, SparseOnesAreCompletedAndSaySo) {
  const Facts facts =
      decode(complaint_message("Feedback-Type: abuse\nUser-Agent: x\nVersion: 1\n", kOriginal));
  ASSERT_EQ(facts.kind, Kind::kComplaint);
  const Complaint& c = *facts.complaint;
  EXPECT_EQ(c.feedback_type, "abuse");
  EXPECT_EQ(c.original_mail_from, "a@example.org");
  ASSERT_EQ(c.original_rcpt_to.size(), 1U);
  EXPECT_EQ(c.original_rcpt_to[0], "victim@example.com");
  EXPECT_EQ(c.source_ip, "2001:db8::1");
  EXPECT_EQ(c.arrival_date, 1577836800);
  EXPECT_EQ(c.reported_domain[0], "news.example.org");
  EXPECT_EQ(c.cfbl_feedback_id, "42:x");
  EXPECT_EQ(c.cfbl_address, "fbl@example.org; report=arf");
  EXPECT_EQ(c.original->message_id, "m@example.org");
  EXPECT_EQ(facts.derived.size(), 7U);
}

TEST(Complaint, WhatStandsThereIsNotDerived) {
  for (const char* type :
       {"abuse", "fraud", "virus", "other", "not-spam", "auth-failure", "opt-out"}) {
    const Facts facts = decode(complaint_message(
        std::string("Feedback-Type: ") + type +
            "\nOriginal-Mail-From: <x@y>\nSource-IP: 192.0.2.1 (name)\n"
            "Source-Port: 25\nAuth-Failure: DKIM\nDelivery-Result: spam\nIdentity-Alignment: none\n"
            "Original-Rcpt-To: <p@q>\nOriginal-Rcpt-To: <r@s>\nArrival-Date: 2 Jan 2020 00:00:00 "
            "+0000\n"
            "Reported-Domain: y\nCFBL-Address: a@b\nCFBL-Feedback-ID: 1\nIncidents: 3\nX-Own: 1\n",
        kOriginal));
    const Complaint& c = *facts.complaint;
    EXPECT_EQ(c.feedback_type, type);
    EXPECT_EQ(c.original_mail_from, "x@y");
    EXPECT_EQ(c.source_ip, "192.0.2.1");
    EXPECT_EQ(c.source_port, "25");
    EXPECT_EQ(c.auth_failure, "dkim");
    EXPECT_EQ(c.delivery_result, "spam");
    EXPECT_EQ(c.incidents, "3");
    EXPECT_EQ(c.original_rcpt_to.size(), 2U);
    EXPECT_EQ(c.extensions.size(), 1U);
    EXPECT_TRUE(facts.derived.empty()) << facts.derived[0];
  }
}

std::string journal_message(std::string_view envelope, std::string_view field = "") {
  std::string text(field);
  text +=
      "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; "
      "charset=utf-8\n\n";
  text.append(envelope).append("--b\nContent-Type: message/rfc822\n\n");
  return crlf(text + "Message-ID: <m@x>\nSubject: s\n\nbody\n--b--\n");
}

TEST(Journal, ExchangesEnvelope) {
  const std::string_view envelope =
      "Sender: a@x\nSubject: =?utf-8?q?=C3=A4?=\nMessage-ID: <m@x>\nOn-Behalf-Of: boss@x\n"
      "To: t@x, Expanded: list@x\nCc: c@x, Forwarded: d@x\nBcc: b@x\nRecipient: r@y\nLabel: l\n";
  for (const char* field : {"X-MS-Journal-Report: \n", "X-GM-Journal-ID: 77-a\n", ""}) {
    const Facts facts = decode(journal_message(envelope, field));
    ASSERT_EQ(facts.kind, Kind::kJournalReport);
    const Journal& j = *facts.journal;
    EXPECT_EQ(j.sender, "a@x");
    EXPECT_EQ(j.on_behalf_of, "boss@x");
    EXPECT_EQ(j.subject, "\xC3\xA4");
    EXPECT_EQ(j.to[0], "t@x");
    EXPECT_EQ(j.cc[0], "c@x");
    EXPECT_EQ(j.bcc[0], "b@x");
    EXPECT_EQ(j.recipients[0], "r@y");
    ASSERT_EQ(j.expanded.size(), 2U);
    EXPECT_EQ(j.expanded[0].recipient, "t@x");
    EXPECT_EQ(j.expanded[0].from, "list@x");
    EXPECT_TRUE(j.expanded[1].forwarded);
    EXPECT_EQ(j.extensions[0].name, "label");
    EXPECT_EQ(j.original->message_id, "m@x");
    EXPECT_EQ(has(facts.derived, "type"), *field == '\0');
  }
}

// Which line comes first is the server's affair when a field says what the text is.
TEST(Journal, AnEnvelopeThatIsSaidToBeOneMayBeginWithAnyOfItsLines) {
  const std::string_view envelope =
      "Message-Id: <m@x>\nSender: <a@x>\nRecipient: <b@x>\nRecipient: <c@y>\n";
  const Facts facts = decode(journal_message(envelope, "X-GM-Journal-ID: 77-a\n"));
  ASSERT_EQ(facts.kind, Kind::kJournalReport);
  EXPECT_EQ(facts.journal->sender, "a@x");
  ASSERT_EQ(facts.journal->recipients.size(), 2U);
  EXPECT_EQ(facts.journal->recipients[1], "c@y");
  EXPECT_EQ(decode(journal_message(envelope)).kind, Kind::kMail);
}

TEST(Journal, TextThatIsNoEnvelopeIsMail) {
  const Facts facts = decode(journal_message("Dear Sender: hello\n", "X-MS-Journal-Report: \n"));
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_TRUE(facts.reason);
  EXPECT_EQ(decode(journal_message("Sender: a@x\nhow are you?\n")).kind, Kind::kMail);
}

TEST(Mail, HeadersBodiesAndAttachments) {
  const Facts facts = decode(crlf(
      "Message-ID: <1@x>\nIn-Reply-To: <0@x>\nReferences: <a@x>\n <b@x>\nAuto-Submitted: "
      "Auto-Replied (x)\n"
      "From: =?utf-8?q?=C3=84?= <a@x>, \"B, C\" <b@x>\nTo: g: c@x, d@x;\nReply-To: e@x (Ed)\n"
      "Subject: s\nDate: 1 Jan 2020 00:00:00 +0100\n"
      "Content-Type: multipart/mixed; boundary=m\n\n--m\nContent-Type: multipart/alternative; "
      "boundary=a\n\n"
      "--a\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: "
      "quoted-printable\n\n"
      "gr=FC=DFe\nzwei\n--a\nContent-Type: multipart/related; boundary=r\n\n--r\nContent-Type: "
      "text/html\n\n"
      "<b>x</b>\n--r\nContent-Type: image/png; name=i.png\nContent-ID: <cid@x>\n"
      "Content-Transfer-Encoding: base64\n\naGVsbG8=\n--r--\n--a--\n--m\nContent-Type: text/plain\n"
      "Content-Disposition: attachment; filename*=utf-8''%C3%A4.txt\n\nattached\n--m--\n"));
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_FALSE(facts.reason);
  const MessageFacts& m = facts.message;
  EXPECT_EQ(m.message_id, "1@x");
  EXPECT_EQ(m.in_reply_to[0], "0@x");
  ASSERT_EQ(m.references.size(), 2U);
  EXPECT_EQ(m.references[1], "b@x");
  EXPECT_EQ(m.auto_submitted, "auto-replied");
  ASSERT_EQ(m.from.size(), 2U);
  EXPECT_EQ(m.from[0].name, "\xC3\x84");
  EXPECT_EQ(m.from[1].name, "B, C");
  ASSERT_EQ(m.to.size(), 2U);
  EXPECT_EQ(m.to[1].address, "d@x");
  EXPECT_EQ(m.reply_to[0].name, "Ed");
  EXPECT_EQ(m.date, 1577833200);
  EXPECT_EQ(m.text,
            "gr\xC3\xBC\xC3\x9F"
            "e\nzwei");
  EXPECT_EQ(m.html, "<b>x</b>");
  ASSERT_EQ(m.attachments.size(), 2U);
  EXPECT_EQ(m.attachments[0].name, "i.png");
  EXPECT_EQ(m.attachments[0].size, 5U);
  EXPECT_EQ(m.attachments[0].content_id, "cid@x");
  EXPECT_EQ(crypto::to_hex(m.attachments[0].sha256),
            "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
  EXPECT_EQ(m.attachments[1].name, "\xC3\xA4.txt");
  EXPECT_EQ(m.attachments[1].disposition, "attachment");
  EXPECT_TRUE(facts.defects.empty()) << facts.defects[0];
}

TEST(Mail, NothingIsReadSilently) {
  const Facts facts =
      decode(crlf("Date: someday\nSubject: a\nSubject: b\nFrom: nobody\nContent-Type: text/plain; "
                  "charset=klingon\n"
                  "Content-Transfer-Encoding: base64\n\naGV!sbG8\n"));
  EXPECT_TRUE(has(facts.defects, "no date"));
  EXPECT_TRUE(has(facts.defects, "more than one"));
  EXPECT_TRUE(has(facts.defects, "no address"));
  EXPECT_TRUE(has(facts.defects, "charset"));
  EXPECT_TRUE(has(facts.defects, "not base64"));
  EXPECT_TRUE(has(facts.defects, "ends early"));
  EXPECT_EQ(facts.message.from[0].name, "nobody");
  EXPECT_TRUE(has(decode("Content-Type: text/plain\r\n\r\n\xC3\xA4").derived, "message.text"));
}

TEST(Mail, AnyBytesAreMail) {
  for (const std::string& bytes : {std::string(), std::string("\0\0\0", 3), std::string("\r\n"),
                                   std::string("no header"), std::string("\xFF\xFE")}) {
    const Facts facts = decode(bytes);
    EXPECT_EQ(facts.kind, Kind::kMail);
    EXPECT_NE(json(facts).find("\"type\":\"mail\""), std::string::npos);
  }
}

TEST(Mail, WhatOnlyBeginsLikeAReportIsMail) {
  const Facts facts = decode("<html>hello</html>\r\n");
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_EQ(facts.message.text, "<html>hello</html>\n");
  EXPECT_TRUE(facts.reason);
}

TEST(Mail, BudgetOfDecodedBytesCutsAtACharacter) {
  Options options;
  options.budget.decoded_bytes = 5;
  const Facts facts =
      decode("Content-Type: text/plain; charset=utf-8\r\n\r\nab\xE2\x82\xAC\xE2\x82\xAC", options);
  EXPECT_EQ(facts.message.text, "ab\xE2\x82\xAC");
  EXPECT_TRUE(has(facts.limits, "decoded_bytes"));
}

TEST(Mail, ContentWhenThereIsRoom) {
  const std::string mail = report_mail("application/pdf", "a.pdf", "12345");
  EXPECT_FALSE(decode(mail).message.attachments[0].content);
  Options options;
  options.content_bytes = 5;
  EXPECT_EQ(decode(mail, options).message.attachments[0].content, "12345");
  options.content_bytes = 4;
  EXPECT_FALSE(decode(mail, options).message.attachments[0].content);
}

TEST(As, AWrongKindSaysWhy) {
  for (const Kind kind :
       {Kind::kComplaint, Kind::kDmarcReport, Kind::kTlsReport, Kind::kJournalReport}) {
    Options options;
    options.as = kind;
    const Facts facts = decode(bounce_message(kStatus), options);
    EXPECT_FALSE(facts.as_wanted);
    EXPECT_TRUE(facts.reason);
  }
  Options options;
  options.as = Kind::kMail;
  EXPECT_TRUE(decode(bounce_message(kStatus), options).as_wanted);
  EXPECT_EQ(decode(bounce_message(kStatus), options).kind, Kind::kMail);
  options.as = Kind::kBounce;
  EXPECT_TRUE(decode(bounce_message(kStatus), options).as_wanted);
}

TEST(Decoder, UsedAgainItForgetsTheLast) {
  Decoder decoder;
  Facts facts;
  decoder.decode(bounce_message(kStatus), {}, facts);
  const std::string first = json(facts);
  decoder.decode(report_mail("application/gzip", "r.xml.gz", gzip(dmarc_xml(3))), {}, facts);
  EXPECT_EQ(facts.kind, Kind::kDmarcReport);
  EXPECT_FALSE(facts.bounce);
  decoder.decode("Subject: x\r\n\r\n", {}, facts);
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_FALSE(facts.has_dmarc);
  decoder.decode(bounce_message(kStatus), {}, facts);
  EXPECT_EQ(json(facts), first);
}

}  // namespace
}  // namespace mxring::decode
