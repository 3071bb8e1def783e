// Verbs and line shapes. Paths and parameters have their cases in dialogues/paths_*.txt,
// parameters_*.txt and utf8*.txt, where the replies are seen too.
#include "smtp/command.h"

#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <string_view>

#include "smtp/command_table.h"

namespace mxring::smtp {
namespace {

TEST(Command, VerbsInAnyCase) {
  for (const CommandRow& row : kCommandTable) {
    std::string word(row.verb);
    for (unsigned flip = 0; flip < 1U << word.size(); ++flip) {
      for (std::size_t i = 0; i < word.size(); ++i) {
        word[i] =
            static_cast<char>((flip >> i & 1) != 0 ? std::tolower(word[i]) : std::toupper(word[i]));
      }
      EXPECT_EQ(&parse_command(word).row, &row) << word;
      EXPECT_EQ(parse_command(word).arguments, "");
      const std::string with_argument = word + " x";
      EXPECT_EQ(&parse_command(with_argument).row, &row) << word;
    }
  }
  EXPECT_EQ(&parse_command("auth").row, &kNotOfferedRow);
  EXPECT_EQ(&parse_command("GET /").row, &kHttpRow);
  EXPECT_EQ(&parse_command("GET").row, &kUnknownRow);
  EXPECT_EQ(&parse_command("").row, &kUnknownRow);
}

// Clearing bit 5 maps other bytes onto letters of a verb only if they are its letters.
TEST(Command, NoOtherBytesAreAVerb) {
  for (const CommandRow& row : kCommandTable) {
    const std::string word(row.verb);
    for (std::size_t i = 0; i < word.size(); ++i) {
      for (int c = 0x21; c < 256; ++c) {
        std::string other(word);
        other[i] = static_cast<char>(c);
        const bool same = (c | 0x20) == (word[i] | 0x20) && std::isalpha(c) != 0;
        EXPECT_EQ(&parse_command(other).row == &row, same) << testing::PrintToString(other);
      }
    }
    EXPECT_NE(&find_command(word + "X"), &row);
    const std::string nul_first = std::string(1, '\0') + word;
    EXPECT_NE(&parse_command(nul_first).row, &row);
  }
}

TEST(Command, ArgumentsLieInTheLine) {
  constexpr std::string_view kLine = "VRFY   some one  ";
  const CommandLine command = parse_command(kLine);
  EXPECT_EQ(command.row.verb, "VRFY");
  EXPECT_EQ(command.arguments, "some one");
  EXPECT_EQ(command.arguments.data(), kLine.data() + 7);
  // Not for MAIL and RCPT, whose syntax has exactly one.
  EXPECT_EQ(parse_command("MAIL  FROM:<>").arguments, " FROM:<>");
}

TEST(Command, LongLinesOnlyForMailAndRcpt) {
  for (const std::string_view line : {"MAIL FROM:<a@b>", "rcpt to:<a@b>"}) {
    EXPECT_NE(find_command(line).flags & kTakesParameters, 0) << line;
  }
  for (const std::string_view line : {"MAILX", "EHLO x", "", "MAI", "DATA", "xMAIL FROM:<a@b>"}) {
    EXPECT_EQ(find_command(line).flags & kTakesParameters, 0) << line;
  }
}

TEST(Command, ChunkSizes) {
  using Size = ChunkArguments::Size;
  const auto known = [](std::string_view text, std::uint64_t octets, bool last, bool good = true) {
    const ChunkArguments chunk = parse_chunk(text);
    EXPECT_EQ(chunk.size, Size::kKnown) << text;
    EXPECT_EQ(chunk.octets, octets) << text;
    EXPECT_EQ(chunk.last, last) << text;
    EXPECT_EQ(chunk.well_formed, good) << text;
  };
  known("0", 0, false);
  known("0 LAST", 0, true);
  known("7  last", 7, true);
  known("000000000000000000000000000005 LAST", 5, true);
  known("18446744073709551615", UINT64_MAX, false);
  known("5 LASTLY", 5, false, false);
  known("5 LAST x", 5, false, false);
  known("5 FIRST", 5, false, false);
  for (const char* text : {"18446744073709551616 LAST", "999999999999999999999999999999"}) {
    EXPECT_EQ(parse_chunk(text).size, Size::kBeyond) << text;
  }
  for (const char* text : {"", "LAST", "-5", "+5", "0x5", "5LAST", "5,", "five", "\xd9\xa5"}) {
    EXPECT_EQ(parse_chunk(text).size, Size::kUnknown) << text;
  }
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
