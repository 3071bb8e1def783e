#include "cli/serve_words.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace mxring::cli {
namespace {

Listening sample() {
  return {{*base::Endpoint::parse("127.0.0.1:2525"), *base::Endpoint::parse("[::1]:2526")},
          {*base::Endpoint::parse("127.0.0.1:4650")},
          "",
          "./mxring-log",
          2,
          1234};
}

TEST(ServeWords, ReadyLine) {
  EXPECT_EQ(ready_line(sample()),
            "ready smtp=127.0.0.1:2525 smtp=[::1]:2526 smtps=127.0.0.1:4650 admin=off "
            "log=./mxring-log shards=2 pid=1234");
}

TEST(ServeWords, ReadyLineStaysOneLineOfWords) {
  Listening listening = sample();
  listening.admin = "127.0.0.1:9925";
  listening.log_dir = "a dir\nx";
  EXPECT_EQ(ready_line(listening),
            "ready smtp=127.0.0.1:2525 smtp=[::1]:2526 smtps=127.0.0.1:4650 admin=127.0.0.1:9925 "
            "log=a\\x20dir\\x0ax shards=2 pid=1234");
}

TEST(ServeWords, WelcomeNamesAnAddressThatCanBeReached) {
  Listening listening = sample();
  listening.smtp = {*base::Endpoint::parse("0.0.0.0:2599")};
  listening.log_dir = "it's here";
  const std::string text = welcome(listening);
  EXPECT_NE(text.find("127.0.0.1"), std::string::npos) << text;
  EXPECT_NE(text.find("2599"), std::string::npos) << text;
  EXPECT_EQ(text.find("0.0.0.0"), std::string::npos) << text;
  EXPECT_NE(text.find("log cat --raw 'it'\\''s here'"), std::string::npos) << text;
}

TEST(ServeWords, WelcomeSaysWhatNodemailerNeeds) {
  Listening listening = sample();
  EXPECT_EQ(welcome(listening).find("nodemailer"), std::string::npos);
  listening.self_signed = true;
  EXPECT_NE(welcome(listening).find("tls: {rejectUnauthorized: false}"), std::string::npos);
  server::Config config;
  EXPECT_TRUE(uses_self_signed(config));
  config.tls.starttls = false;
  config.listen.smtps.clear();
  EXPECT_FALSE(uses_self_signed(config));
  config.tls.starttls = true;
  config.tls.certificate = "c.pem";
  EXPECT_FALSE(uses_self_signed(config));
}

TEST(ServeWords, WelcomeUsesWhatIsInstalled) {
  const char* path = std::getenv("PATH");
  const std::string before = path == nullptr ? "" : path;
  setenv("PATH", "/nowhere", 1);
  const std::string text = welcome(sample());
  setenv("PATH", before.c_str(), 1);
  EXPECT_NE(text.find("apt-get install swaks"), std::string::npos) << text;
  EXPECT_NE(text.find("swaks --server 127.0.0.1 --port 2525 "), std::string::npos) << text;
}

TEST(ServeWords, TheLogIsNamedByItsWholePath) {
  EXPECT_EQ(whole_path("/var/lib/mxring/log"), "/var/lib/mxring/log");
  const std::string here = std::filesystem::current_path().string();
  EXPECT_EQ(whole_path("./mxring-log"), here + "/mxring-log");
  EXPECT_EQ(whole_path("a/../mxring-log"), here + "/mxring-log");
}

TEST(ServeWords, IPv6AloneIsSaid) {
  const auto said = [](const char* listen) {
    const auto config = server::parse_config(std::string("[listen]\n") + listen, "t");
    EXPECT_TRUE(config.has_value()) << listen;
    const std::vector<std::string> all = warnings(*config);
    return std::ranges::any_of(all, [](const std::string& line) {
      return line.find("takes no IPv4 at [::]:25; add \"0.0.0.0:25\"") != std::string::npos;
    });
  };
  EXPECT_TRUE(said("smtp = [\"[::]:25\"]"));
  EXPECT_TRUE(said("smtp = [\"[::]:25\", \"0.0.0.0:26\"]"));
  EXPECT_FALSE(said("smtp = [\"[::]:25\", \"0.0.0.0:25\"]"));
  EXPECT_FALSE(said("smtp = [\"[::1]:25\"]"));
}

TEST(ServeWords, DefaultsGiveNoWarning) {
  EXPECT_TRUE(warnings(server::default_config()).empty());
}

TEST(ServeWords, LosingMailIsSaidLoudly) {
  server::Config config = server::default_config();
  config.log.sync = server::SyncMode::kNone;
  ASSERT_EQ(warnings(config).size(), 1u);
  EXPECT_TRUE(warnings(config)[0].starts_with("warning: log.sync"));
}

TEST(ServeWords, ASelfMadeCertificateIsSaidWhereTlsWasAskedFor) {
  auto config = server::parse_config("[listen]\nsmtps = [\"127.0.0.1:465\"]", "t");
  ASSERT_TRUE(config.has_value());
  ASSERT_EQ(warnings(*config).size(), 1u);
  EXPECT_TRUE(warnings(*config)[0].starts_with("warning: no tls.certificate: a self-signed one"));
  config->tls.certificate = "c.pem";
  EXPECT_TRUE(warnings(*config).empty());
}

}  // namespace
}  // namespace mxring::cli
