// Which access rule decides: the first in the file, whatever it looks at.
#include "server/access.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace mxring::server {
namespace {

Access from_lines(const std::vector<std::string>& lines) {
  Access access;
  for (const std::string& line : lines) {
    const auto added = access.add_line(line);
    EXPECT_TRUE(added.has_value()) << line << ": " << added.error().what;
  }
  return access;
}

AccessQuestion question(std::string_view client, std::string_view helo = "mail.example.net",
                        std::string_view sender = "s@example.net",
                        std::string_view recipient = "r@example.org") {
  return {*base::IpAddress::parse(client), helo, sender, recipient};
}

std::uint32_t line_for(const Access& access, const AccessQuestion& asked) {
  const Access::Rule* rule = access.find(asked);
  return rule == nullptr ? 0 : rule->line;
}

TEST(AccessTest, NoRuleDecidesNothing) {
  EXPECT_EQ(Access().find(question("192.0.2.1")), nullptr);
  EXPECT_EQ(from_lines({"# nothing", ""}).find(question("192.0.2.1")), nullptr);
}

TEST(AccessTest, TheFirstLineWinsWhateverItLooksAt) {
  const Access access = from_lines({
      "allow    client 192.0.2.128/25",
      "deny     client 192.0.2.0/24    Go away",
      "tempfail sender @bad.example    Later",
      "deny     recipient trap@example.org",
      "allow    sender ok@bad.example   # too late: line 3 has it",
      "deny     helo @.dynamic.example",
      "deny     helo exact.example",
      "deny     client 2001:db8::/32",
      "deny     sender <> No bounces here",
      "deny     client 0.0.0.0/0",
  });
  EXPECT_EQ(line_for(access, question("192.0.2.200")), 1U);
  EXPECT_EQ(line_for(access, question("192.0.2.7", "exact.example")), 2U);
  EXPECT_EQ(access.text(*access.find(question("192.0.2.7"))), "Go away");
  EXPECT_EQ(line_for(access, question("198.51.100.1", "h", "ok@bad.example")), 3U);
  EXPECT_EQ(access.find(question("198.51.100.1", "h", "OK@BAD.example."))->action,
            AccessAction::kTempfail);
  EXPECT_EQ(line_for(access, question("198.51.100.1", "h", "a@b.example", "Trap@Example.org")), 4U);
  EXPECT_EQ(line_for(access, question("198.51.100.1", "1-2.dynamic.example")), 6U);
  EXPECT_EQ(line_for(access, question("198.51.100.1", "EXACT.example")), 7U);
  EXPECT_EQ(line_for(access, question("2001:db8::1")), 8U);
  EXPECT_EQ(line_for(access, question("2001:db9::1")), 0U);
  EXPECT_EQ(line_for(access, question("2001:db9::1", "h", "")), 9U);
  EXPECT_EQ(line_for(access, question("198.51.100.1")), 10U);
}

TEST(AccessTest, AgreesWithWalkingThroughTheLines) {
  // Few values, so that much matches; a rule is compared with a plain reading of it.
  std::mt19937 random(3);
  const auto pick = [&random](const std::vector<std::string>& of) {
    return of[random() % of.size()];
  };
  const std::vector<std::string> networks{"10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3",
                                          "0.0.0.0/0"};
  const std::vector<std::string> clients{"10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.9.9",
                                         "11.0.0.1"};
  const std::vector<std::string> names{"a@x.example", "b@x.example",   "@x.example",
                                       "@.x.example", "c@y.x.example", "@.example"};
  const std::vector<std::string> addresses{"a@x.example",   "b@x.example", "c@x.example",
                                           "c@y.x.example", "d@z.example", "e@example"};
  const auto name_matches = [](const std::string& pattern, const std::string& address) {
    const std::string domain = address.substr(address.find('@') + 1);
    if (pattern.starts_with("@.")) return domain.ends_with(pattern.substr(1));
    if (pattern.starts_with("@")) return domain == pattern.substr(1);
    return pattern == address;
  };
  const auto network_matches = [](const std::string& pattern, const std::string& client) {
    const std::size_t slash = pattern.find('/');
    if (slash == std::string::npos) return pattern == client;
    const auto kept = static_cast<std::size_t>(std::stoi(pattern.substr(slash + 1)) / 8);
    std::size_t end = 0;
    for (std::size_t i = 0; i < kept; ++i) end = pattern.find('.', end) + 1;
    return client.substr(0, end) == pattern.substr(0, end);
  };
  for (int round = 0; round < 300; ++round) {
    struct Line {
      std::string kind, pattern;
    };
    std::vector<Line> lines;
    std::vector<std::string> texts;
    for (int i = 0; i < 6; ++i) {
      const std::string kind = pick({"client", "sender", "recipient"});
      lines.push_back({kind, pick(kind == "client" ? networks : names)});
      texts.push_back("deny " + kind + " " + lines.back().pattern);
    }
    const Access access = from_lines(texts);
    const std::string client = pick(clients);
    const std::string sender = pick(addresses);
    const std::string recipient = pick(addresses);
    std::uint32_t expected = 0;
    for (std::size_t i = lines.size(); i-- > 0;) {
      const Line& line = lines[i];
      const bool matches =
          line.kind == "client"
              ? network_matches(line.pattern, client)
              : name_matches(line.pattern, line.kind == "sender" ? sender : recipient);
      if (matches) expected = static_cast<std::uint32_t>(i + 1);
    }
    ASSERT_EQ(line_for(access, question(client, "h", sender, recipient)), expected)
        << client << " " << sender << " " << recipient << "\n"
        << texts[0] << "\n"
        << texts[1] << "\n"
        << texts[2] << "\n"
        << texts[3] << "\n"
        << texts[4] << "\n"
        << texts[5];
  }
}

TEST(AccessTest, AMistakeIsNamedWithItsLine) {
  struct Mistake {
    const char* line;
    const char* says;
  };
  for (const Mistake& mistake : {
           Mistake{"permit client 192.0.2.1", "\"permit\" is not allow, deny or tempfail"},
           Mistake{"deny", "a rule is: "},
           Mistake{"deny client", "a rule is: "},
           Mistake{"deny host 192.0.2.1", "\"host\" is not client, helo"},
           Mistake{"deny client 192.0.2.300", "is no IP address"},
           Mistake{"deny client 192.0.2.0/33", "is no length of an IPv4 prefix"},
           Mistake{"deny client 192.0.2.0/", "is no length"},
           Mistake{"deny client 192.0.2.1/24", "has bits set after its prefix"},
           Mistake{"deny client 2001:db8::/129", "IPv6 prefix, 0 to 128"},
           Mistake{"deny sender joe", "is no address"},
           Mistake{"deny sender @", "is no address"},
           Mistake{"deny recipient <>", "is no address"},
           Mistake{"deny client 192.0.2.1 caf\xc3\xa9", "printable ASCII"},
           Mistake{"allow client 192.0.2.1 Welcome", "text of an allow"},
       }) {
    Access access;
    ASSERT_TRUE(access.add_line("# first").has_value());
    const auto added = access.add_line(mistake.line);
    ASSERT_FALSE(added.has_value()) << mistake.line;
    EXPECT_EQ(added.error().line, 2U);
    EXPECT_NE(added.error().what.find(mistake.says), std::string::npos) << added.error().what;
  }
}

}  // namespace
}  // namespace mxring::server
