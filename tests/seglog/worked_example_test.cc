// The segment and the cursor that FORMAT.md shows in hexadecimal: read from the document, and
// written again from the values that it names.
#include <fcntl.h>

#include <cstring>

#include "seglog/cursor_file.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

// The n-th ```hex block, with the zeros that it leaves out, from the address it begins at.
std::string hex_block(int n, std::uint64_t size) {
  const std::string text = read_file(fs::path(MXRING_TEST_DATA) / "../../src/seglog/FORMAT.md");
  std::size_t at = 0;
  for (int i = 0; i <= n; ++i) at = text.find("```hex\n", at) + 7;
  std::string bytes;
  std::uint64_t begin = UINT64_MAX;
  while (text.compare(at, 3, "```") != 0) {
    const std::string line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    if (line == "*") continue;
    const std::uint64_t address = std::stoull(line.substr(0, 5), nullptr, 16);
    begin = std::min(begin, address);
    bytes.resize(address - begin);
    for (std::size_t i = 0; i < 16; ++i) {
      bytes += static_cast<char>(std::stoi(line.substr(7 + 3 * i, 2), nullptr, 16));
    }
  }
  bytes.resize(size);
  return bytes;
}

constexpr SegmentKey kKey{0x0000000100000002, 0x11223344};
constexpr std::uint64_t kSegmentBytes = 12'352;

TEST(WorkedExample, IsReadAsItSays) {
  const mxring::test::TempDir temp;
  const fs::path log = temp.path() / "log";
  fs::create_directory(log);
  write_file(log / "00000000000000000007.seg", hex_block(0, kSegmentBytes));
  auto reader = LogReader::open(log);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->log_id().hex(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
  EXPECT_EQ(reader->end(), 10U);
  reader->include_refusals(true);
  auto record = reader->next();
  ASSERT_TRUE(record && *record) << record.error().message;
  EXPECT_EQ((*record)->id(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf_7");
  EXPECT_EQ((*record)->received_at_us, 1'796'083'201'000'000);
  EXPECT_EQ((*record)->client_ip, "192.0.2.7");
  EXPECT_EQ((*record)->client_port, 25'000);
  EXPECT_EQ((*record)->mail_from, "a@b.example");
  ASSERT_EQ((*record)->rcpt_to.size(), 1U);
  EXPECT_EQ((*record)->rcpt_to[0].address, "c@d.example");
  EXPECT_EQ((*record)->rcpt_to[0].notify, 2);
  EXPECT_EQ((*record)->message, "Subject: 1\r\n\r\nHi\r\n");
  EXPECT_EQ((*record)->delivered(), "X: t\r\n\r\nHi\r\n");
  record = reader->next();
  ASSERT_TRUE(record && *record);
  EXPECT_TRUE((*record)->is_refusal());
  record = reader->next();
  ASSERT_TRUE(record && *record);
  EXPECT_EQ((*record)->offset, 9U);
  EXPECT_EQ((*record)->message, "\r\nx");
  record = reader->next();
  EXPECT_TRUE(record && !*record);
}

void put_record(std::string& out, Offset offset, std::int64_t at, std::string_view message,
                std::string_view metadata, std::uint64_t span, std::uint64_t durable_before) {
  RecordHeader header;
  header.offset = offset;
  header.received_at_us = at;
  header.durable_before = durable_before;
  header.span_bytes = static_cast<std::uint32_t>(span);
  header.message_bytes = static_cast<std::uint32_t>(message.size());
  header.metadata_bytes = static_cast<std::uint32_t>(metadata.size());
  header.payload_crc =
      payload_crc(message.data(), message.size(), metadata.data(), metadata.size());
  finish_record_header(header, kKey);
  const std::size_t begin = out.size();
  out.append(reinterpret_cast<const char*>(&header), sizeof header);
  out.append(message).append(metadata);
  out.resize(begin + span);
}

TEST(WorkedExample, IsWrittenAsItSays) {
  std::string out(kHeaderBlockBytes, '\0');
  SegmentHeader header;
  header.epoch = kKey.epoch;
  header.base_offset = 7;
  header.created_at_us = 1'796'083'200'000'000;
  header.salt = kKey.salt;
  for (int i = 0; i < 16; ++i) header.log_id[i] = static_cast<std::uint8_t>(0xA0 + i);
  encode_segment_header(header, out.data());
  std::string metadata;
  MetadataWriter first(metadata);
  first.text(MetadataTag::kClientIp, "192.0.2.7");
  first.u16(MetadataTag::kClientPort, 25'000);
  first.text(MetadataTag::kMailFrom, "a@b.example");
  first.recipient("c@d.example", "", 2);
  first.text(MetadataTag::kDisposition, "accept");
  first.text(MetadataTag::kTrace, "X: t\r\n");
  first.leave_out(0, 12);
  put_record(out, 7, 1'796'083'201'000'000, "Subject: 1\r\n\r\nHi\r\n", metadata, 192, 7);
  metadata.clear();
  MetadataWriter second(metadata);
  second.recipient("e@f.example", "", 0);
  second.text(MetadataTag::kDisposition, "reject");
  put_record(out, 8, 1'796'083'202'000'000, "", metadata, 0x2000 - out.size(), 7);
  metadata.clear();
  MetadataWriter third(metadata);
  third.recipient("g@h.example", "", 0);
  third.text(MetadataTag::kDisposition, "accept");
  put_record(out, 9, 1'796'083'203'000'000, "\r\nx", metadata, 4096, 9);
  RecordHeader seal;
  seal.magic = kSealMagic;
  seal.offset = seal.durable_before = 10;
  seal.received_at_us = 1'796'083'203'000'000;
  seal.span_bytes = kRecordHeaderBytes;
  finish_record_header(seal, kKey);
  out.append(reinterpret_cast<const char*>(&seal), sizeof seal);
  ASSERT_EQ(out.size(), kSegmentBytes);
  EXPECT_EQ(out, hex_block(0, kSegmentBytes));
}

TEST(WorkedExample, TheCursorIsReadAsItSays) {
  const mxring::test::TempDir temp;
  std::string file(kCursorBytes, '\0');
  file.replace(kCursorSlotAt, sizeof(CursorFields), hex_block(1, sizeof(CursorFields)));
  write_file(temp.path() / "g.cursor", file);
  const ReadFile opened(::open((temp.path() / "g.cursor").c_str(), O_RDONLY));
  const auto fields = read_cursor(opened.fd());
  ASSERT_TRUE(fields && *fields);
  EXPECT_EQ((*fields)->generation, 3U);
  EXPECT_EQ((*fields)->next, 9U);
  EXPECT_EQ((*fields)->handed_over, 10U);
  EXPECT_EQ((*fields)->committed_at_us, 1'796'083'204'000'000);
  EXPECT_TRUE((*fields)->holds());
  EXPECT_FALSE((*fields)->paused());
  EXPECT_EQ((*fields)->id().hex(), "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
}

}  // namespace
}  // namespace mxring::seglog::test
