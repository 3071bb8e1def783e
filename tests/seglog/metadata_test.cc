// Metadata: every field there and back, unknown tags, malformed bytes; and the delivered form.
#include "seglog/metadata.h"

#include <gtest/gtest.h>

#include <string>

namespace mxring::seglog {
namespace {

TEST(Metadata, EveryField) {
  std::string bytes;
  MetadataWriter out(bytes);
  out.text(MetadataTag::kClientIp, "2001:db8::1");
  out.u16(MetadataTag::kClientPort, 65535);
  out.text(MetadataTag::kHelo, "mail.example.net");
  out.text(MetadataTag::kClientName, "mx.example.net");
  out.text(MetadataTag::kTls, "TLSv1.3 TLS_AES_128_GCM_SHA256");
  out.text(MetadataTag::kProtocol, "ESMTPS");
  out.text(MetadataTag::kMailFrom, "a@example.net");
  out.recipient("b@example.org", "rfc822;B@example.org", 6);
  out.recipient("", "", 0);
  out.text(MetadataTag::kEnvelopeId, "QQ314159");
  out.text(MetadataTag::kDsnReturn, "hdrs");
  out.text(MetadataTag::kBodyType, "8bitmime");
  out.u32(MetadataTag::kFlags, kFlagSmtpUtf8 | kFlagLongLine);
  out.text(MetadataTag::kSpf, R"({"result":"pass"})");
  out.text(MetadataTag::kDkim, "[]");
  out.text(MetadataTag::kDmarc, "{}");
  out.text(MetadataTag::kDisposition, "accept");
  out.text(MetadataTag::kTrace, "Received: x\r\n");
  out.leave_out(10, 20);
  out.leave_out(20, 25);

  Record record;
  ASSERT_TRUE(decode_metadata(bytes, record));
  EXPECT_EQ(record.client_ip, "2001:db8::1");
  EXPECT_EQ(record.client_port, 65535);
  EXPECT_EQ(record.helo, "mail.example.net");
  EXPECT_EQ(record.client_name, "mx.example.net");
  EXPECT_EQ(record.tls, "TLSv1.3 TLS_AES_128_GCM_SHA256");
  EXPECT_EQ(record.protocol, "ESMTPS");
  EXPECT_EQ(record.mail_from, "a@example.net");
  ASSERT_EQ(record.rcpt_to.size(), 2U);
  EXPECT_EQ(record.rcpt_to[0].address, "b@example.org");
  EXPECT_EQ(record.rcpt_to[0].original, "rfc822;B@example.org");
  EXPECT_EQ(record.rcpt_to[0].notify, 6);
  EXPECT_EQ(record.rcpt_to[1].address, "");
  EXPECT_EQ(record.envelope_id, "QQ314159");
  EXPECT_EQ(record.dsn_return, "hdrs");
  EXPECT_EQ(record.body_type, "8bitmime");
  EXPECT_TRUE(record.smtputf8);
  EXPECT_TRUE(record.has_long_line);
  EXPECT_EQ(record.spf, R"({"result":"pass"})");
  EXPECT_EQ(record.dkim, "[]");
  EXPECT_EQ(record.dmarc, "{}");
  EXPECT_EQ(record.disposition, "accept");
  EXPECT_EQ(record.trace, "Received: x\r\n");
  ASSERT_EQ(record.leave_out.size(), 2U);
  EXPECT_EQ(record.leave_out[1].begin, 20U);
  EXPECT_EQ(record.leave_out[1].end, 25U);
}

TEST(Metadata, NothingIsLeftOfTheRecordDecodedBefore) {
  std::string full;
  MetadataWriter out(full);
  out.text(MetadataTag::kHelo, "x");
  out.u16(MetadataTag::kClientPort, 25);
  out.u32(MetadataTag::kFlags, kFlagSmtpUtf8);
  out.recipient("a@b", "", 1);
  out.leave_out(1, 2);
  Record record;
  ASSERT_TRUE(decode_metadata(full, record));
  ASSERT_TRUE(decode_metadata("", record));
  EXPECT_TRUE(record.helo.empty());
  EXPECT_EQ(record.client_port, 0);
  EXPECT_FALSE(record.smtputf8);
  EXPECT_TRUE(record.rcpt_to.empty());
  EXPECT_TRUE(record.leave_out.empty());
}

TEST(Metadata, EmptyTextIsNotWritten) {
  std::string bytes;
  MetadataWriter(bytes).text(MetadataTag::kTls, "");
  EXPECT_TRUE(bytes.empty());
}

TEST(Metadata, UnknownTagsAreSkippedAndAnyOrderIsRead) {
  std::string bytes;
  MetadataWriter out(bytes);
  out.text(static_cast<MetadataTag>(999), "from a later version");
  out.text(MetadataTag::kTrace, "T");
  out.text(MetadataTag::kHelo, "h");
  Record record;
  ASSERT_TRUE(decode_metadata(bytes, record));
  EXPECT_EQ(record.helo, "h");
  EXPECT_EQ(record.trace, "T");
}

TEST(Metadata, CutAnywhereIsMalformedOrAPrefix) {
  std::string bytes;
  MetadataWriter out(bytes);
  out.text(MetadataTag::kHelo, "h");
  const std::size_t first_field = bytes.size();
  out.recipient("a@b", "o", 1);
  const std::size_t second_field = bytes.size();
  out.u32(MetadataTag::kFlags, 1);
  Record record;
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const bool boundary = size == 0 || size == first_field || size == second_field;
    EXPECT_EQ(decode_metadata(std::string_view(bytes).substr(0, size), record), boundary) << size;
  }
}

std::string field(std::uint16_t tag, std::string_view value) {
  std::string bytes;
  MetadataWriter(bytes).text(static_cast<MetadataTag>(tag), value);
  return bytes;
}

TEST(Metadata, WrongSizesAreMalformed) {
  Record record;
  EXPECT_FALSE(decode_metadata(field(2, "abc"), record)) << "a port of three bytes";
  EXPECT_FALSE(decode_metadata(field(12, "abc"), record)) << "flags of three bytes";
  EXPECT_FALSE(decode_metadata(field(8, "\x01"), record)) << "a recipient without its path size";
  EXPECT_FALSE(decode_metadata(field(8, std::string_view("\x01\x05\x00"
                                                         "ab",
                                                         5)),
                               record))
      << "a path longer than its field";
  EXPECT_FALSE(decode_metadata(field(18, "abc"), record)) << "a range of three bytes";
}

TEST(Metadata, RangesMustAscend) {
  Record record;
  std::string bytes;
  MetadataWriter(bytes).leave_out(5, 4);
  EXPECT_FALSE(decode_metadata(bytes, record));
  bytes.clear();
  MetadataWriter(bytes).leave_out(5, 9);
  MetadataWriter(bytes).leave_out(8, 10);
  EXPECT_FALSE(decode_metadata(bytes, record));
}

TEST(Record, DeliveredIsTraceAndWhatIsNotLeftOut) {
  Record record;
  record.message = "0123456789";
  record.trace = "T\r\n";
  EXPECT_EQ(record.delivered(), "T\r\n0123456789");
  record.leave_out = {{0, 2}, {4, 6}, {9, 10}};
  EXPECT_EQ(record.delivered(), "T\r\n23678");
  record.leave_out = {{3, 3}};
  EXPECT_EQ(record.delivered(), "T\r\n0123456789");
}

TEST(Record, DeliveredNeverReadsOutsideTheMessage) {
  Record record;
  record.message = "0123";
  record.leave_out = {{2, 100}, {200, 300}};
  EXPECT_EQ(record.delivered(), "01");
}

}  // namespace
}  // namespace mxring::seglog
