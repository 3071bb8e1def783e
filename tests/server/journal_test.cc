// The journal's lines in both notations, what is escaped and cut, the rate with its folding, files
// that are moved away, and a reader that has stopped.
#include "server/journal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mxring::server {
namespace {

using nlohmann::json;

JournalLine sample() {
  JournalLine line;
  line.event = JournalEvent::kRefused;
  line.time = {1'764'535'381'000'042};
  line.session = 0x2a;
  line.ip = "192.0.2.7";
  line.port = 40'000;
  line.helo = "client.example";
  line.in_transaction = true;
  line.mail_from = "a@client.example";
  line.recipients = 2;
  line.recipient = [](const void*, std::size_t index) {
    return index == 0 ? std::string_view("b@example.org") : std::string_view("c@example.org");
  };
  line.stage = "message";
  line.codes = "550 5.7.26";
  line.text = "Refused: neither SPF nor DKIM vouches for the author";
  line.spf = "fail";
  line.dmarc = "fail";
  line.has_size = true;
  line.size = 1234;
  return line;
}

std::string written(const JournalLine& line, JournalFormat format = JournalFormat::kJson) {
  std::array<char, kJournalLineBytesMin> out{};
  return {out.data(), write_line(line, format, 0x10, out)};
}

TEST(JournalLineTest, EveryKeyInItsPlace) {
  const json line = json::parse(written(sample()));
  EXPECT_EQ(line["time"], "2025-11-30T20:43:01.000042Z");
  EXPECT_EQ(line["event"], "refused");
  EXPECT_EQ(line["session"], "10-2a");
  EXPECT_EQ(line["client"], json::parse(R"({"ip":"192.0.2.7","port":40000,"helo":"client.example",)"
                                        R"("name":null,"via":null})"));
  EXPECT_EQ(line["tls"], nullptr);
  EXPECT_EQ(line["mail_from"], "a@client.example");
  EXPECT_EQ(line["rcpt_to"], json::parse(R"(["b@example.org","c@example.org"])"));
  EXPECT_EQ(line["stage"], "message");
  EXPECT_EQ(line["reply"], "550 5.7.26 Refused: neither SPF nor DKIM vouches for the author");
  EXPECT_EQ(line["spf"], "fail");
  EXPECT_EQ(line["dmarc"], "fail");
  EXPECT_EQ(line["size"], 1234);
  EXPECT_EQ(line["repeated"], 1);
  EXPECT_EQ(line.size(), 13U);
}

TEST(JournalLineTest, Logfmt) {
  JournalLine line = sample();
  line.tls = R"({"version":"TLSv1.3"})";
  EXPECT_EQ(written(line, JournalFormat::kLogfmt),
            R"(time="2025-11-30T20:43:01.000042Z" event="refused" session="10-2a" )"
            R"(client.ip="192.0.2.7" client.port=40000 client.helo="client.example" )"
            R"(tls="{\"version\":\"TLSv1.3\"}" mail_from="a@client.example" )"
            R"(rcpt_to="b@example.org,c@example.org" stage="message" )"
            R"(reply="550 5.7.26 Refused: neither SPF nor DKIM vouches for the author" )"
            R"(spf="fail" dmarc="fail" size=1234 repeated=1)");
}

TEST(JournalLineTest, WhatIsFromOutsideIsEscaped) {
  JournalLine line = sample();
  const std::string bidi =
      "a\xE2\x80\xAE"
      "b\xC2\x85\n\"\\\x1B[2J\xFF";
  line.helo = bidi;
  for (const JournalFormat format : {JournalFormat::kJson, JournalFormat::kLogfmt}) {
    const std::string text = written(line, format);
    EXPECT_NE(text.find(R"(a\u202eb\u0085\u000a\"\\\u001b[2J\ufffd)"), text.npos) << text;
    for (const char c : text) EXPECT_GE(static_cast<unsigned char>(c), 0x20);
  }
  EXPECT_EQ(json::parse(written(line))["client"]["helo"],
            "a\xE2\x80\xAE"
            "b\xC2\x85\n\"\\\x1B[2J\xEF\xBF\xBD");
}

TEST(JournalLineTest, TheLongestLineIsWhole) {
  JournalLine line = sample();
  const std::string worst(5000, '\x01');
  line.helo = line.name = line.via = line.mail_from = line.text = worst;
  line.recipients = 1000;
  line.recipient = [](const void*, std::size_t) { return std::string_view("\x01\x01\x01\x01"); };
  line.tls = R"({"version":"TLSv1.3","cipher":"TLS_AES_256_GCM_SHA384","sni":"mx.example.org"})";
  std::array<char, 4000> large{};
  const json whole = json::parse(
      std::string(large.data(), write_line(line, JournalFormat::kJson, 0xFFFFFFFF, large)));
  EXPECT_EQ(whole["repeated"], 1);
  EXPECT_TRUE(whole["client"]["helo"].get<std::string>().ends_with("...")) << whole["client"];
  EXPECT_TRUE(whole["rcpt_to"].back().get<std::string>().ends_with(" more")) << whole["rcpt_to"];
}

TEST(JournalLineTest, EventsOfReplies) {
  using smtp::Stage;
  namespace replies = smtp::replies;
  EXPECT_EQ(event_of(replies::kDmarcReject, Stage::kMessage), JournalEvent::kRefused);
  EXPECT_EQ(event_of(replies::kStorageLow, Stage::kMail), JournalEvent::kDeferred);
  EXPECT_EQ(event_of(replies::kTooManyConnections, Stage::kConnect), JournalEvent::kDeferred);
  EXPECT_EQ(event_of(replies::kTooSlow, Stage::kMessage), JournalEvent::kCutOff);
  EXPECT_EQ(event_of(replies::kAccepted, Stage::kMessage), JournalEvent::kAccepted);
}

class JournalTest : public testing::Test {
 protected:
  JournalTest() : path_(testing::TempDir() + "/mxring-journal." + std::to_string(::getpid())) {
    ::unlink(path_.c_str());
    console_ = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  }
  ~JournalTest() override {
    ::unlink(path_.c_str());
    ::unlink((path_ + ".1").c_str());
    ::close(console_);
  }
  std::vector<json> lines(const std::string& path) const {
    std::vector<json> all;
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) all.push_back(json::parse(line));
    return all;
  }
  static void refuse(Journal& journal, smtp::ReplyId id, base::WallTime now) {
    if (!journal.wants(id) || !journal.admit(id, smtp::Stage::kRecipient, now)) return;
    JournalLine line = sample();
    line.time = now;
    journal.say(line, id, smtp::Stage::kRecipient);
  }

  const std::string path_;
  int console_ = -1;
};

TEST_F(JournalTest, LinesBeyondTheRateAreFoldedAndNoneIsLost) {
  constexpr std::uint64_t kRefusals = 5000;
  {
    Journal journal(console_);
    ASSERT_TRUE(journal.configure({.to = path_, .rate = 50}));
    journal.start();
    for (std::uint64_t i = 0; i < kRefusals; ++i) {
      refuse(journal, i % 4 == 0 ? smtp::replies::kNotOurs : smtp::replies::kUnknownRecipient,
             {1'000'000 + static_cast<std::int64_t>(i)});
    }
    // The next second has lines of its own again.
    refuse(journal, smtp::replies::kStorageLow, {2'000'000});
  }
  const auto all = lines(path_);
  EXPECT_EQ(all.size(), 50U + 1 + 2);
  std::map<std::string, std::uint64_t> sums;
  for (const json& line : all) sums[line["reply"]] += line["repeated"].get<std::uint64_t>();
  EXPECT_EQ(sums["550 5.7.1 We do not accept mail for this domain"], kRefusals / 4);
  EXPECT_EQ(sums["550 5.1.1 No such recipient here"], kRefusals - kRefusals / 4);
  EXPECT_EQ(sums["452 4.3.1 Insufficient system storage"], 1U);
}

TEST_F(JournalTest, LinesThatFindNoRoomAreFoldedToo) {
  constexpr std::uint64_t kRefusals =
      3000;  // more than wait for the thread, which is not there yet
  {
    Journal journal(console_);
    ASSERT_TRUE(journal.configure({.to = path_, .rate = 1'000'000}));
    for (std::uint64_t i = 0; i < kRefusals; ++i) {
      refuse(journal, smtp::replies::kNotOurs, {1'000'000});
    }
    JournalLine line = sample();
    ASSERT_TRUE(journal.admit(CutOff::kNotReadingMemory, {1'000'000}));
    journal.say(line, CutOff::kNotReadingMemory);
    journal.start();
    EXPECT_EQ(journal.dropped(), 0U);
  }
  const auto all = lines(path_);
  EXPECT_LT(all.size(), kRefusals / 2);
  std::uint64_t refused = 0;
  std::uint64_t cut_off = 0;
  for (const json& line : all) {
    (line["reply"].is_null() ? cut_off : refused) += line["repeated"].get<std::uint64_t>();
  }
  EXPECT_EQ(refused, kRefusals);
  EXPECT_EQ(cut_off, 1U);
}

TEST_F(JournalTest, EveryEndWithoutAReplyHasItsLine) {
  {
    Journal journal(console_);
    ASSERT_TRUE(journal.configure({.to = path_}));
    journal.start();
    for (std::size_t why = 0; why < static_cast<std::size_t>(CutOff::kCount); ++why) {
      JournalLine line = sample();
      ASSERT_TRUE(journal.admit(static_cast<CutOff>(why), {1'000'000}));
      journal.say(line, static_cast<CutOff>(why));
    }
  }
  std::map<std::string, unsigned> texts;
  for (const json& line : lines(path_)) {
    EXPECT_EQ(line["event"], "cut_off");
    EXPECT_TRUE(line["reply"].is_null());
    ++texts[line["text"]];
  }
  EXPECT_EQ(texts.size(), static_cast<std::size_t>(CutOff::kCount)) << "each its own words";
}

TEST_F(JournalTest, EveryReplyOfTheTableHasItsLine) {
  {
    Journal journal(console_);
    ASSERT_TRUE(journal.configure({.to = path_, .accepted = true}));
    journal.start();
    for (const smtp::ReplyRow& row : smtp::kReplies) {
      refuse(journal, row.id, {1'000'000});
      journal.settle();
    }
  }
  std::size_t expected = 0;
  const auto all = lines(path_);
  for (const smtp::ReplyRow& row : smtp::kReplies) {
    const smtp::Reply reply(row.id);
    if (!reply.is_refusal() && row.id != smtp::replies::kAccepted) continue;
    ++expected;
    EXPECT_TRUE(std::ranges::any_of(all, [&](const json& line) {
      return line["reply"] == smtp::to_text(reply);
    })) << row.line;
  }
  EXPECT_EQ(all.size(), expected);
}

TEST_F(JournalTest, AFileMovedAwayIsMadeAnew) {
  {
    Journal journal(console_);
    ASSERT_TRUE(journal.configure({.to = path_}));
    journal.start();
    refuse(journal, smtp::replies::kNotOurs, {1});
    journal.settle();
    ASSERT_EQ(std::rename(path_.c_str(), (path_ + ".1").c_str()), 0);
    journal.reopen();
    // Whatever is said after it, soon or late, is in one of the two.
    for (int i = 0; i < 500 && ::access(path_.c_str(), F_OK) != 0; ++i) ::usleep(10'000);
    refuse(journal, smtp::replies::kStorageLow, {1});
    journal.say_removed("segment 7 went by age");
  }
  EXPECT_EQ(lines(path_ + ".1").size(), 1U);
  const auto anew = lines(path_);
  ASSERT_EQ(anew.size(), 2U);
  EXPECT_EQ(anew[0]["event"], "deferred");
  EXPECT_EQ(anew[1]["event"], "removed");
  EXPECT_EQ(anew[1]["text"], "segment 7 went by age");
}

TEST_F(JournalTest, NoticesAreLinesOnceItServes) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  {
    Journal journal(ends[1]);
    ASSERT_TRUE(journal.configure({}));
    journal.notice("warning: early");
    journal.start();
    journal.settle();
    journal.serve();
    journal.notice("certificates \"loaded\"\nagain");
  }
  ::close(ends[1]);
  std::string text(8192, '\0');
  text.resize(
      static_cast<std::size_t>(std::max<ssize_t>(::read(ends[0], text.data(), text.size()), 0)));
  ::close(ends[0]);
  const std::string first = "mxring: warning: early\n";
  ASSERT_TRUE(text.starts_with(first)) << text;
  const json line = json::parse(text.substr(first.size()));
  EXPECT_EQ(line["event"], "notice");
  EXPECT_EQ(line["text"], "certificates \"loaded\"\nagain");
}

TEST_F(JournalTest, OffMeansWordsOnly) {
  Journal journal(console_);
  ASSERT_TRUE(journal.configure({.to = ""}));
  EXPECT_FALSE(journal.wants(smtp::replies::kNotOurs));
  EXPECT_FALSE(Journal(console_).configure({.to = "/nowhere/at/all"}));
}

}  // namespace
}  // namespace mxring::server
