// Layout: names, and that no single changed bit of a header gives another header.
#include "seglog/format.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace mxring::seglog {
namespace {

TEST(Format, NamesThereAndBack) {
  EXPECT_EQ(segment_name(0), "00000000000000000000.seg");
  EXPECT_EQ(segment_name(kOffsetMax), "04611686018427387904.seg");
  for (std::uint64_t base : {std::uint64_t{0}, std::uint64_t{42}, kOffsetMax}) {
    EXPECT_EQ(parse_segment_name(segment_name(base)), base);
    EXPECT_EQ(parse_index_name(index_name(base)), base);
    EXPECT_FALSE(parse_segment_name(index_name(base)));
  }
  for (const char* name :
       {"", "0.seg", "000000000000000000000.seg", "18446744073709551616.seg",
        "04611686018427387905.seg", "99999999999999999999.seg", "0000000000000000000x.seg",
        "00000000000000000000.seg~", "+0000000000000000001.seg"}) {
    EXPECT_FALSE(parse_segment_name(name)) << name;
  }
}

TEST(Format, SegmentHeaderSurvivesTheLossOfOneCopy) {
  SegmentHeader header;
  header.epoch = 0x0000000700000001;
  header.base_offset = 77;
  header.salt = 0xABCD;
  char block[kHeaderBlockBytes];
  encode_segment_header(header, block);
  HeaderFault fault = HeaderFault::kNone;
  for (std::uint64_t damaged : {std::uint64_t{0}, kHeaderCopyAt}) {
    std::string bytes(block, sizeof block);
    bytes.replace(damaged, 64, 64, '\xFF');
    const auto decoded = decode_segment_header(bytes, &fault);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->base_offset, 77U);
    EXPECT_EQ(decoded->salt, 0xABCDU);
  }
  std::string bytes(sizeof block, '\0');
  EXPECT_FALSE(decode_segment_header(bytes, &fault));
  EXPECT_EQ(fault, HeaderFault::kDamaged);
}

TEST(Format, NamesOfSegmentsThatWereSetAside) {
  EXPECT_EQ(damaged_name({7, 12}), "00000000000000000007.damaged-12");
  const auto parsed = parse_damaged_name(damaged_name({kOffsetMax, 1}));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->base_offset, kOffsetMax);
  EXPECT_EQ(parsed->number, 1U);
  EXPECT_FALSE(parse_segment_name(damaged_name({7, 12})));
  for (const char* name :
       {"00000000000000000007.damaged-", "00000000000000000007.damaged-01",
        "00000000000000000007.damaged-1x", "00000000000000000007.damaged--1", "7.damaged-1",
        "00000000000000000007.damaged", "00000000000000000007.seg", ""}) {
    EXPECT_FALSE(parse_damaged_name(name)) << name;
  }
}

TEST(Format, SegmentHeaderOfALaterVersionIsToldApart) {
  SegmentHeader header;
  header.version = kFormatVersion + 1;
  char block[kHeaderBlockBytes];
  encode_segment_header(header, block);
  HeaderFault fault = HeaderFault::kNone;
  EXPECT_FALSE(decode_segment_header({block, sizeof block}, &fault));
  EXPECT_EQ(fault, HeaderFault::kVersion);
}

RecordHeader sample(SegmentKey key) {
  RecordHeader header;
  header.offset = 12;
  header.received_at_us = 34;
  header.durable_before = 10;
  header.message_bytes = 100;
  header.metadata_bytes = 20;
  header.span_bytes = 192;
  header.payload_crc = 0x12345678;
  finish_record_header(header, key);
  return header;
}

TEST(Format, AnyChangedBitOfARecordHeaderIsNoticed) {
  const SegmentKey key{0x900000055, 0x77};
  const RecordHeader header = sample(key);
  char bytes[kRecordHeaderBytes];
  std::memcpy(bytes, &header, sizeof bytes);
  ASSERT_TRUE(decode_record_header(bytes, key));
  for (std::size_t bit = 0; bit < sizeof bytes * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(decode_record_header(bytes, key)) << "bit " << bit;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
}

TEST(Format, ARecordOfAnotherEpochOrSaltIsNoRecord) {
  const SegmentKey key{0x900000055, 0x77};
  const RecordHeader header = sample(key);
  char bytes[kRecordHeaderBytes];
  std::memcpy(bytes, &header, sizeof bytes);
  EXPECT_FALSE(decode_record_header(bytes, {key.epoch + 1, key.salt}));
  EXPECT_FALSE(decode_record_header(bytes, {key.epoch, key.salt + 1}));
}

TEST(Format, SizesThatDisagreeAreNoRecord) {
  const SegmentKey key{1, 2};
  for (std::uint32_t span : {0U, 64U, 176U, 184U, 190U, 191U, 193U, 200U, 4304U}) {
    RecordHeader header = sample(key);
    header.span_bytes = span;
    finish_record_header(header, key);
    char bytes[kRecordHeaderBytes];
    std::memcpy(bytes, &header, sizeof bytes);
    EXPECT_FALSE(decode_record_header(bytes, key)) << span;
  }
}

}  // namespace
}  // namespace mxring::seglog
