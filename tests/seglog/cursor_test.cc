// Cursors: every byte flipped, either slot torn, both, and what retention and readers make of it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>

#include "seglog/group_reader.h"
#include "seglog/groups.h"
#include "seglog/stored_json.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

class CursorTest : public LogTest {
 protected:
  void SetUp() override {
    LogTest::SetUp();
    if (IsSkipped()) return;
    Writer writer = open_or_die(small());
    append(writer, 20);
    writer.close();
    log_fd_ = ReadFile(::open(directory().c_str(), O_RDONLY | O_DIRECTORY));
  }

  fs::path file(const std::string& group) const {
    return directory() / kGroupsName / cursor_name(group);
  }
  base::Now later() {
    now_.mono = now_.mono + base::kNsPerSecond;
    now_.wall.us += 1'000'000;
    return now_;
  }
  GroupReader open(const std::string& group, const GroupOptions& options = {}) {
    auto reader = GroupReader::open(directory(), group, options, later());
    if (!reader) throw std::runtime_error(reader.error().message);
    return std::move(*reader);
  }
  // Hands over `count` records and commits them, one write each.
  void deal_with(GroupReader& reader, int count) {
    for (int i = 0; i < count; ++i) {
      const auto step = reader.next();
      ASSERT_TRUE(step && step->record);
      ASSERT_TRUE(reader.commit(reader.position(), later()));
    }
  }
  std::optional<CursorFields> read(const std::string& group) const {
    const ReadFile cursor(::open(file(group).c_str(), O_RDONLY));
    const auto fields = read_cursor(cursor.fd());
    return fields ? *fields : std::nullopt;
  }

  ReadFile log_fd_;
  base::Now now_{{1'000'000'000}, {1'790'000'000'000'000}};
};

// Every write past the first byte of a file is refused meanwhile, as by a disk without room.
class NoRoom {
 public:
  NoRoom() {
    std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit none{1, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &none);
  }
  NoRoom(const NoRoom&) = delete;
  NoRoom& operator=(const NoRoom&) = delete;
  ~NoRoom() { ::setrlimit(RLIMIT_FSIZE, &before_); }

 private:
  rlimit before_{};
};

TEST_F(CursorTest, ACommitWithoutRoomIsAnErrorAndThePlaceBeforeItStands) {
  GroupReader reader = open("g");
  deal_with(reader, 5);
  {
    const NoRoom full;
    const auto step = reader.next();
    ASSERT_TRUE(step && step->record);
    const auto refused = reader.commit(reader.position(), later());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, GroupErrorKind::kCursor) << refused.error().message;
    EXPECT_TRUE(refused.error().message.contains("written")) << refused.error().message;
    EXPECT_EQ(reader.committed(), 5u);
    const auto on_disk = read("g");
    ASSERT_TRUE(on_disk);
    EXPECT_EQ(on_disk->next, 5u);
    EXPECT_FALSE(GroupReader::open(directory(), "h", {}, later())) << "made without room";
  }
  // With room again nothing has to be said twice.
  ASSERT_TRUE(reader.flush(later()));
  EXPECT_EQ(reader.committed(), 6u);
  EXPECT_EQ(read("g")->next, 6u);
  EXPECT_TRUE(GroupReader::open(directory(), "h", {}, later()));
}

TEST_F(CursorTest, EveryByteFlippedLeavesTheSlotBeforeOrNone) {
  {
    GroupReader reader = open("g");
    deal_with(reader, 5);
  }
  const std::string good = read_file(file("g"));
  ASSERT_EQ(good.size(), kCursorBytes);
  const auto newest = read("g");
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->next, 5U);
  const std::uint64_t newest_at = newest->generation % 2 * kCursorSlotAt;
  for (const std::uint64_t slot : {std::uint64_t{0}, kCursorSlotAt}) {
    for (std::uint64_t i = 0; i < sizeof(CursorFields); ++i) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string bad = good;
        bad[slot + i] = static_cast<char>(bad[slot + i] ^ (1 << bit));
        write_file(file("g"), bad);
        const auto fields = read("g");
        ASSERT_TRUE(fields) << slot + i;
        ASSERT_EQ(fields->next, slot == newest_at ? 4U : 5U) << slot + i;
      }
    }
  }
}

TEST_F(CursorTest, CutAtEveryLength) {
  {
    GroupReader reader = open("g");
    deal_with(reader, 5);
  }
  const std::string good = read_file(file("g"));
  const std::uint64_t newest_at = read("g")->generation % 2 * kCursorSlotAt;
  for (std::uint64_t size = 0; size < sizeof(CursorFields) + 10; ++size) {
    write_file(file("g"), good.substr(0, size));
    EXPECT_EQ(read("g").has_value(), size >= sizeof(CursorFields)) << size;
    write_file(file("g"), good.substr(0, kCursorSlotAt + size));
    ASSERT_TRUE(read("g")) << size;
    const bool both = size >= sizeof(CursorFields);
    EXPECT_EQ(read("g")->next, both || newest_at == 0 ? 5U : 4U) << size;
  }
}

TEST_F(CursorTest, AWriteThatNeverCameLeavesTheOneBeforeAndTheNextGoesOn) {
  {
    GroupReader reader = open("g");
    deal_with(reader, 3);
  }
  std::string bytes = read_file(file("g"));
  const std::uint64_t newest_at = read("g")->generation % 2 * kCursorSlotAt;
  bytes.replace(newest_at + 40, 88, 88, '\0');  // torn in the middle of the slot
  write_file(file("g"), bytes);
  {
    GroupReader reader = open("g");
    EXPECT_FALSE(reader.was_damaged());
    EXPECT_EQ(reader.position(), 2U);
    deal_with(reader, 4);
  }
  EXPECT_EQ(read("g")->next, 6U);
}

TEST_F(CursorTest, BothSlotsDamagedHoldsEverythingAndBeginsAgain) {
  {
    GroupReader reader = open("g");
    deal_with(reader, 7);
  }
  write_file(file("g"), std::string(kCursorBytes, '\x5A'));
  const auto holds = read_holds(log_fd_.fd());
  ASSERT_TRUE(holds);
  ASSERT_EQ(holds->size(), 1U);
  EXPECT_TRUE((*holds)[0].damaged);
  EXPECT_EQ((*holds)[0].next, 0U);
  GroupReader reader = open("g");
  EXPECT_TRUE(reader.was_damaged());
  EXPECT_EQ(reader.position(), 0U);
  deal_with(reader, 2);
  EXPECT_EQ(read("g")->next, 2U);
  EXPECT_TRUE(read("g")->holds());
}

TEST_F(CursorTest, OneOwner) {
  GroupReader first = open("g");
  const auto second = GroupReader::open(directory(), "g", {}, later());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, GroupErrorKind::kOwned);
  EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos);
}

TEST_F(CursorTest, BeyondTheEndAndOfAnotherLog) {
  {
    GroupReader reader = open("g");
    deal_with(reader, 20);
  }
  const auto place = [&](const CursorFields& fields) {
    return place_of(log_fd_.fd(), fields, {0, 20});
  };
  CursorFields fields = *read("g");
  EXPECT_EQ(place(fields), CursorPlace::kHere);
  fields.next = 21;
  EXPECT_EQ(place(fields), CursorPlace::kBeyondEnd);
  fields.log_id[3] ^= 1;
  EXPECT_EQ(place(fields), CursorPlace::kOtherLog);
  fields.next = 7;
  EXPECT_EQ(place(fields), CursorPlace::kOtherLog);
  fields.set_id({});
  EXPECT_EQ(place(fields), CursorPlace::kOtherLog);
}

TEST_F(CursorTest, FiveWritesASecond) {
  GroupReader reader = open("g");
  const auto first = read("g")->generation;
  for (int i = 0; i < 18; ++i) {
    ASSERT_TRUE(reader.next());
    now_.mono = now_.mono + 49 * base::kNsPerMs;
    ASSERT_TRUE(reader.commit(reader.position(), now_));
  }
  EXPECT_LE(read("g")->generation - first, 5U);
  EXPECT_TRUE(reader.due());
  ASSERT_TRUE(reader.flush(now_));
  EXPECT_EQ(read("g")->next, 18U);
  EXPECT_FALSE(reader.due());
}

TEST_F(CursorTest, WhatWasNotHandedOverCannotBeCommitted) {
  GroupReader reader = open("g");
  ASSERT_TRUE(reader.next());
  EXPECT_FALSE(reader.commit(2, later()));
  EXPECT_TRUE(reader.commit(1, later()));
  EXPECT_TRUE(reader.commit(0, later())) << "older than what is done: nothing to do";
  EXPECT_EQ(reader.committed(), 1U);
}

TEST_F(CursorTest, AFolderThatCannotBeWrittenIsAnError) {
  if (::geteuid() == 0) {
    // Root may write anywhere, but not where a file stands in the way.
    write_file(directory() / kGroupsName / "g.cursor", "x");
    fs::remove(directory() / kGroupsName / "g.cursor");
    fs::remove_all(directory() / kGroupsName);
    write_file(directory() / kGroupsName, "no folder");
  } else {
    fs::permissions(directory() / kGroupsName, fs::perms::owner_read | fs::perms::owner_exec);
  }
  const auto refused = GroupReader::open(directory(), "g", {}, later());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, GroupErrorKind::kCursor);
}

TEST(StoredJson, ReadsWhatTheServerStores) {
  const auto objects =
      read_stored_json(R"([{"result":"pass","n":12,"t":true,"z":null,"deep":{"a":[1,{"b":"}"}]},)"
                       R"("u":"\u00e9\n\ud83d\ude00"},{}])");
  ASSERT_EQ(objects.size(), 2U);
  EXPECT_EQ(objects[0].text("result"), "pass");
  EXPECT_EQ(objects[0].text("n"), "12");
  EXPECT_TRUE(objects[0].truth("t"));
  EXPECT_EQ(objects[0].text("z"), "");
  EXPECT_EQ(objects[0].text("u"), "\xC3\xA9\n\xF0\x9F\x98\x80");
  EXPECT_EQ(objects[0].text("missing"), "");
  for (const char* bad :
       {"", "[", "{", "{\"a\"", "{\"a\":", "{\"a\":\"", "[{}", "{\"a\":\"\\u12\"}"}) {
    EXPECT_TRUE(read_stored_json(bad).empty()) << bad;
  }
  EXPECT_TRUE(read_stored_json(std::string(100'000, '[')).empty());
  EXPECT_TRUE(read_stored_json("{\"a\":" + std::string(100'000, '[')).empty());
}

}  // namespace
}  // namespace mxring::seglog::test
