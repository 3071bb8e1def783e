// The false ends of data by which a second message is smuggled through a server that is laxer than
// its neighbour (The-Login's list, hannob's smtpsmug, Wang et al. 2025), at every split of the
// bytes: never two messages, never the smuggled envelope.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/smtp/session_player.h"

namespace mxring::smtp {
namespace {

const std::filesystem::path kVectors =
    std::filesystem::path(MXRING_CORPORA) / "smtp-smuggling" / "vectors.json";

// The string values of `key` in a JSON text, in order. Only the escapes that the file has.
std::vector<std::string> string_values(std::string_view json, std::string_view key) {
  std::vector<std::string> values;
  std::string wanted(1, '"');
  wanted.append(key).append("\":");
  for (std::size_t at = json.find(wanted); at != std::string_view::npos;
       at = json.find(wanted, at)) {
    at = json.find('"', at + wanted.size()) + 1;
    std::string value;
    for (; json[at] != '"'; ++at) {
      if (json[at] != '\\') {
        value += json[at];
        continue;
      }
      ++at;
      value += json[at] == 'r' ? '\r' : json[at] == 'n' ? '\n' : json[at];
    }
    values.push_back(value);
  }
  return values;
}

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), with);
    at += with.size();
  }
  return text;
}

void play(const std::vector<std::string_view>& pieces, std::string_view false_end) {
  const SessionOptions options{.hostname = "mx.example", .limits = {}, .leniency = {}};
  SessionPlayer player(options, {});
  player.play("EHLO check.example\r\n");
  player.play("MAIL FROM:<test@check.example>\r\n");
  player.play("RCPT TO:<someone@mx.example>\r\n");
  player.play("DATA\r\n");
  player.take_replies();
  player.play(pieces);
  const Transcript& transcript = player.transcript();
  ASSERT_LE(transcript.messages.size() + transcript.refused, 1U) << "more than one end of data";
  for (const ReceivedMessage& message : transcript.messages) {
    ASSERT_EQ(message.mail_from, "test@check.example");
    ASSERT_NE(message.content.find(false_end), std::string::npos) << "acted as end of data";
  }
  // This receiver refuses them all; the next transaction is a clean one.
  const std::string replies = player.take_replies();
  ASSERT_EQ(transcript.messages.size(), 0U);
  ASSERT_EQ(transcript.refused, 1U);
  ASSERT_TRUE(replies.starts_with("550 5.5.2 ")) << replies;
  ASSERT_EQ(replies.find("\r\n"), replies.size() - 2) << "commands were read: " << replies;
  ASSERT_FALSE(player.session().in_transaction());
  player.play("MAIL FROM:<next@check.example>\r\nRCPT TO:<someone@mx.example>\r\nDATA\r\n");
  player.play("x\r\n.\r\n");
  ASSERT_EQ(transcript.messages.size(), 1U);
  ASSERT_EQ(transcript.messages[0].mail_from, "next@check.example");
}

TEST(Smuggling, AllVectorsAtEverySplit) {
  std::ifstream in(kVectors, std::ios::binary);
  if (!in) GTEST_SKIP() << kVectors << " is not here";
  const std::string json{std::istreambuf_iterator<char>(in), {}};
  const std::vector<std::string> vectors = string_values(json, "bytes_hex");
  const std::vector<std::string> templates = string_values(json, "data_template");
  ASSERT_EQ(vectors.size(), 11U);
  ASSERT_EQ(templates.size(), 1U);
  for (const std::string& hex : vectors) {
    const std::string false_end = from_hex(hex);
    const std::string data =
        replaced(replaced(templates[0], "{rcpt}", "someone@mx.example"), "{eod}", false_end);
    ASSERT_NE(data.find(false_end + "mail FROM:<smuggled@check.example>\r\n"), std::string::npos);
    const std::string_view view(data);
    ASSERT_NO_FATAL_FAILURE(play({view}, false_end)) << hex;
    ASSERT_NO_FATAL_FAILURE(play(cut_every(view, 1), false_end)) << hex;
    for (std::size_t cut = 1; cut < data.size(); ++cut) {
      ASSERT_NO_FATAL_FAILURE(play({view.substr(0, cut), view.substr(cut)}, false_end))
          << hex << " cut at " << cut;
      // Three pieces, the middle one of one byte.
      if (cut + 1 < data.size()) {
        ASSERT_NO_FATAL_FAILURE(
            play({view.substr(0, cut), view.substr(cut, 1), view.substr(cut + 1)}, false_end))
            << hex << " cut at " << cut;
      }
    }
  }
}

// The same sequences where they would be read as commands: before 354.
TEST(Smuggling, DataBeforeThePromptIsNeverReadAsCommands) {
  const SessionOptions options{.hostname = "mx.example", .limits = {}, .leniency = {}};
  SessionPlayer player(options, {});
  player.play("EHLO check.example\r\n");
  player.play(
      "MAIL FROM:<test@check.example>\r\nRCPT TO:<someone@mx.example>\r\nDATA\r\n"
      "x\r\n.\r\nMAIL FROM:<smuggled@check.example>\r\nRCPT TO:<someone@mx.example>\r\nDATA\r\n");
  EXPECT_TRUE(player.transcript().closed);
  EXPECT_TRUE(player.transcript().messages.empty());
  EXPECT_EQ(player.session().envelope().reverse_path(), "test@check.example");
}

}  // namespace
}  // namespace mxring::smtp
