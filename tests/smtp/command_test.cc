// Verbs and line shapes. Paths and parameters have their cases in dialogues/paths_*.txt,
// parameters_*.txt and utf8*.txt, where the replies are seen too.
#include "smtp/command.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <string_view>

namespace mxring::smtp {
namespace {

TEST(Command, VerbsInAnyCase) {
  for (const auto& [word, verb] : {std::pair{"EHLO", Verb::kEhlo},
                                   {"helo", Verb::kHelo},
                                   {"Mail", Verb::kMail},
                                   {"rCPT", Verb::kRcpt},
                                   {"DATA", Verb::kData},
                                   {"rset", Verb::kRset},
                                   {"nOoP", Verb::kNoop},
                                   {"VRFY", Verb::kVrfy},
                                   {"help", Verb::kHelp},
                                   {"quit", Verb::kQuit},
                                   {"StartTls", Verb::kStartTls},
                                   {"auth", Verb::kNotOffered}}) {
    EXPECT_EQ(parse_command(word).verb, verb) << word;
    EXPECT_EQ(parse_command(std::string_view(word)).arguments, "");
  }
}

// Clearing bit 5 maps other bytes onto letters of a verb only if they are its letters.
TEST(Command, NoOtherFourBytesAreAVerb) {
  for (const std::string_view word :
       {"EHLO", "HELO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "VRFY", "HELP", "QUIT"}) {
    for (std::size_t i = 0; i < word.size(); ++i) {
      for (int c = 0x21; c < 256; ++c) {
        std::string other(word);
        other[i] = static_cast<char>(c);
        const bool same = (c | 0x20) == (word[i] | 0x20) && std::isalpha(c) != 0;
        EXPECT_EQ(parse_command(std::string_view(other)).verb == parse_command(word).verb, same)
            << testing::PrintToString(other);
      }
    }
  }
}

TEST(Command, ArgumentsLieInTheLine) {
  constexpr std::string_view kLine = "VRFY   some one  ";
  const CommandLine command = parse_command(kLine);
  EXPECT_EQ(command.verb, Verb::kVrfy);
  EXPECT_EQ(command.arguments, "some one");
  EXPECT_EQ(command.arguments.data(), kLine.data() + 7);
  // Not for MAIL and RCPT, whose syntax has exactly one.
  EXPECT_EQ(parse_command("MAIL  FROM:<>").arguments, " FROM:<>");
}

TEST(Command, LongLinesOnlyForMailAndRcpt) {
  EXPECT_TRUE(takes_parameters("MAIL FROM:<a@b>"));
  EXPECT_TRUE(takes_parameters("rcpt to:<a@b>"));
  EXPECT_FALSE(takes_parameters("MAIL"));
  EXPECT_FALSE(takes_parameters("MAILX"));
  EXPECT_FALSE(takes_parameters("EHLO x"));
  EXPECT_FALSE(takes_parameters(""));
}

TEST(Command, MailArgumentsAreViewsOfTheLine) {
  constexpr std::string_view kLine = "FROM:<@route.example:a@b.example> ENVID=id SIZE=7";
  const auto mail = parse_mail(kLine, {.esmtp = true, .smtputf8 = false, .leniency = {}});
  ASSERT_TRUE(mail.has_value());
  EXPECT_EQ(mail->reverse_path, "a@b.example");
  EXPECT_EQ(mail->reverse_path.data(), kLine.data() + kLine.find("a@b"));
  EXPECT_EQ(mail->envelope_id.data(), kLine.data() + kLine.find("id "));
  EXPECT_EQ(mail->declared_size, 7U);
}

// RFC 5321 4.5.3.1: a local part of 64 octets is the least. VERP, SRS and BATV need more.
TEST(Command, LengthsOfAddresses) {
  const auto path = [](std::size_t local, std::size_t domain) {
    std::string text = "<" + std::string(local, 'x') + "@";
    while (domain > 60) {
      text += std::string(59, 'd') + ".";
      domain -= 60;
    }
    return text + std::string(domain, 'd') + ">";
  };
  const auto sender = [&](std::size_t local, std::size_t domain) {
    const std::string text = "FROM:" + path(local, domain);
    const auto mail = parse_mail(std::string_view(text), {});
    return mail ? std::string("ok") : to_text(mail.error());
  };
  const auto recipient = [&](std::size_t local, std::size_t domain) {
    const std::string text = "TO:" + path(local, domain);
    const auto rcpt = parse_rcpt(std::string_view(text), {});
    return rcpt ? std::string("ok") : to_text(rcpt.error());
  };
  constexpr std::string_view kSender = "501 5.1.7 Sender address too long";
  constexpr std::string_view kRecipient = "501 5.1.3 Recipient address too long";
  for (const std::size_t local :
       {std::size_t{64}, std::size_t{65}, std::size_t{300}, kLocalPartBytesMax}) {
    EXPECT_EQ(sender(local, 100), "ok") << local;
    EXPECT_EQ(recipient(local, 100), "ok") << local;
    EXPECT_EQ(recipient(local, kDomainBytesMax), "ok") << local;
  }
  EXPECT_EQ(sender(kLocalPartBytesMax + 1, 100), kSender);
  EXPECT_EQ(recipient(kLocalPartBytesMax + 1, 100), kRecipient);
  EXPECT_EQ(sender(1, kDomainBytesMax + 1), kSender);
  EXPECT_EQ(recipient(1, kDomainBytesMax + 1), kRecipient);
}

}  // namespace
}  // namespace mxring::smtp
