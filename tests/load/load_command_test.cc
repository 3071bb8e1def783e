// The command itself, against the real receiver: what was accepted is in the log; exit codes.
#include <gtest/gtest.h>
#include <mxring/log_reader.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <fstream>
#include <set>
#include <string>

#include "tests/load/tiny_server.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_signing.h"
#include "tests/support/server_process.h"
#include "tests/support/temp_dir.h"

namespace mxring {
namespace {

struct Outcome {
  int exit_code = -1;
  std::string output;  // standard output and, where the test asks for it, standard error
};

Outcome run(const std::string& arguments) {
  Outcome outcome;
  FILE* pipe = ::popen((std::string(MXRING_PROGRAM) + " load " + arguments).c_str(), "r");
  if (pipe == nullptr) return outcome;
  std::array<char, 4096> part{};
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) outcome.output += part.data();
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  return outcome;
}

std::string at(std::uint16_t port) {
  return "127.0.0.1:" + std::to_string(port);
}

// The number behind "key": in a flat part of the JSON.
double number(const std::string& json, const std::string& key) {
  const std::size_t where = json.find("\"" + key + "\":");
  return where == std::string::npos ? -1 : std::stod(json.substr(where + key.size() + 3));
}

TEST(LoadCommandTest, WhatItSaysWasAcceptedIsInTheLog) {
  test::ServerProcess server("[limits]\ndisk_reserve_percent = 0\ndisk_reserve_segments = 1\n",
                             "segment_bytes = \"32MiB\"");
  ASSERT_TRUE(server.ready());
  const Outcome outcome =
      run(at(server.port()) + " --messages 1500 --connections 16 --threads 2 --size 800-20000" +
          " --rcpt-to 'user%d@sink.example' --json --server-pid " + std::to_string(server.pid()));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_EQ(number(outcome.output, "sent"), 1500);
  EXPECT_EQ(number(outcome.output, "accepted"), 1500);
  EXPECT_EQ(number(outcome.output, "errors"), 0);
  EXPECT_GT(number(outcome.output, "client"), 0);
  EXPECT_GT(number(outcome.output, "server"), 0);

  auto reader = LogReader::open(server.log_dir());
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  std::set<std::string> ids;
  std::set<std::string> recipients;
  std::uint64_t records = 0;
  for (;;) {
    const auto record = reader->next();
    ASSERT_TRUE(record.has_value()) << record.error().message;
    if (!*record) break;
    ++records;
    const std::string_view message = (*record)->message;
    EXPECT_GE(message.size(), 800U);
    EXPECT_LE(message.size(), 20000U);
    const std::size_t id = message.find("Message-ID: ");
    ASSERT_NE(id, std::string_view::npos);
    ids.emplace(message.substr(id, message.find('\r', id) - id));
    recipients.emplace((*record)->rcpt_to.at(0).address);
  }
  EXPECT_EQ(records, 1500U);
  EXPECT_EQ(ids.size(), 1500U);
  EXPECT_EQ(recipients.size(), 1500U);
}

TEST(LoadCommandTest, GivenMessagesArriveByteForByte) {
  test::ServerProcess server("[limits]\ndisk_reserve_percent = 0\ndisk_reserve_segments = 1\n",
                             "segment_bytes = \"32MiB\"");
  ASSERT_TRUE(server.ready());
  const test::TempDir folder;
  const std::string text = "From: <a@b.example>\n\n.\n..\n.dot\ngr\xC3\xBC\xC3\x9F\nno end";
  std::ofstream(folder.path() / "one.eml", std::ios::binary) << text;
  const Outcome outcome =
      run(at(server.port()) + " --messages 3 --message " + folder.path().string());
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  auto reader = LogReader::open(server.log_dir());
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  for (int i = 0; i < 3; ++i) {
    const auto record = reader->next();
    ASSERT_TRUE(record.has_value() && record->has_value());
    EXPECT_EQ((*record)->message,
              "From: <a@b.example>\r\n\r\n.\r\n..\r\n.dot\r\ngr\xC3\xBC\xC3\x9F\r\nno end\r\n");
    EXPECT_EQ((*record)->body_type, "8bitmime");
  }
}

TEST(LoadCommandTest, StaysWithinTheReceiversMessagesPerConnection) {
  test::ServerProcess server(
      "[limits]\ndisk_reserve_percent = 0\ndisk_reserve_segments = 1\n"
      "messages_per_connection = 50\n",
      "segment_bytes = \"32MiB\"");
  ASSERT_TRUE(server.ready());
  const std::string common = at(server.port()) + " --messages 400 --connections 2 --json ";
  const Outcome within = run(common + "--messages-per-connection 50");
  EXPECT_EQ(number(within.output, "accepted"), 400) << within.output;
  const Outcome beyond = run(common + "--messages-per-connection 0");
  EXPECT_EQ(beyond.exit_code, 0);
  EXPECT_NE(beyond.output.find("\"code\":421"), std::string::npos) << beyond.output;
  EXPECT_EQ(number(beyond.output, "sent"), 400);
  const Outcome pipelined = run(common + "--pipelining on --messages-per-connection 50");
  EXPECT_EQ(number(pipelined.output, "accepted"), 400) << pipelined.output;
}

TEST(LoadCommandTest, ThresholdsGive99) {
  test::TinyServer server({});
  const std::string common = at(server.port()) + " --messages 200 --connections 4 ";
  const Outcome broken = run(common + "--fail-if 'p99>1us' --fail-if 'errors>0' 2>&1");
  EXPECT_EQ(broken.exit_code, 99);
  EXPECT_NE(broken.output.find("--fail-if p99>1us: p99 is"), std::string::npos) << broken.output;
  EXPECT_EQ(broken.output.find("errors>0"), std::string::npos) << broken.output;
  const Outcome kept = run(common + "--fail-if 'p99>60s' --fail-if 'rate<0.1'");
  EXPECT_EQ(kept.exit_code, 0);
  EXPECT_NE(kept.output.find("latency p99.9"), std::string::npos);
}

TEST(LoadCommandTest, NobodyListeningIsOneClearLine) {
  std::uint16_t port = 0;
  {
    test::TinyServer gone({});
    port = gone.port();
  }
  const Outcome outcome = run(at(port) + " --messages 5 2>&1");
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_NE(outcome.output.find("nothing listens there"), std::string::npos) << outcome.output;
  EXPECT_EQ(std::ranges::count(outcome.output, '\n'), 1) << outcome.output;
}

TEST(LoadCommandTest, SignedMessagesArriveGenuine) {
  test::ServerProcess server("[limits]\ndisk_reserve_percent = 0\ndisk_reserve_segments = 1\n",
                             "segment_bytes = \"32MiB\"");
  ASSERT_TRUE(server.ready());
  test::TempDir folder;
  test::SigningDomain domain(crypto::KeyType::kRsa);
  const std::string key_file = (folder.path() / "key.pem").string();
  std::ofstream(key_file) << domain.key().to_pem();
  const std::string sign = " --sign " + key_file + " --domain example.org --selector sel";
  const Outcome outcome = run(at(server.port()) + " --messages 60 --signed-messages 40" + sign);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_NE(outcome.output.find("40 different messages were signed before the start"),
            std::string::npos)
      << outcome.output;
  EXPECT_EQ(run(at(server.port()) + " --messages 1 --sign /nonexistent --domain example.org" +
                " --selector sel 2>&1")
                .exit_code,
            1);

  auto reader = LogReader::open(server.log_dir());
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  std::set<std::string> messages;
  for (;;) {
    const auto record = reader->next();
    ASSERT_TRUE(record.has_value()) << record.error().message;
    if (!*record) break;
    messages.emplace((*record)->message);
    test::DkimSetup setup;
    setup.now_unix_s = 1'900'000'000;
    EXPECT_EQ(test::dkim_words((*record)->message, domain.zone(), setup), "pass");
    EXPECT_TRUE((*record)->mail_from.ends_with("@example.org"));
  }
  EXPECT_EQ(messages.size(), 60U);
}

TEST(LoadCommandTest, MistakesOnTheCommandLineAre2) {
  for (const char* arguments : {"--tls yes",
                                "--sign key.pem",
                                "--sign key.pem --domain example.org",
                                "--sign key.pem --domain example --selector s",
                                "--domain example.org",
                                "--signed-messages 5",
                                "--size none",
                                "--size 5-4",
                                "--rate fast",
                                "--duration 5",
                                "--messages 5 --duration 5s",
                                "--messages 0",
                                "--connections 0",
                                "--fail-if p98",
                                "--mail-from nobody",
                                "--rcpt-to '<>'",
                                "--pipelining 1",
                                "--reply-timeout 0",
                                "--helo 'a b'",
                                "--unknown"}) {
    const Outcome outcome = run(std::string("127.0.0.1:1 ") + arguments + " 2>&1");
    EXPECT_EQ(outcome.exit_code, 2) << arguments << "\n" << outcome.output;
  }
  EXPECT_EQ(run("mx..example.org:25 2>&1").exit_code, 2);
}

}  // namespace
}  // namespace mxring
