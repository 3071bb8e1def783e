// The cases are in addresses.txt.
#include "mail/mailbox.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::mail {
namespace {

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 >= text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c == 'r') out += '\r';
    if (c == 'n') out += '\n';
    if (c == 't') out += '\t';
    if (c == 's') out += ' ';
    if (c == '0') out += '\0';
    if (c == '\\') out += '\\';
    if (c == 'x' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16));
      i += 2;
    }
  }
  return out;
}

std::string trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return unescaped(text);
}

struct Case {
  int line = 0;
  bool single = false;
  bool list = false;
  std::string value;
  std::vector<Mailbox> mailboxes;
  std::string error;
};

std::vector<Case> read_cases() {
  std::ifstream in(std::filesystem::path(MXRING_TEST_DATA) / "addresses.txt", std::ios::binary);
  std::vector<Case> cases;
  std::string text;
  for (int number = 1; std::getline(in, text); ++number) {
    if (text.empty() || text[0] == '#') continue;
    const std::string_view line(text);
    if (line[0] == '!') {
      cases.back().error = line.substr(2);
    } else if (line[0] == '=') {
      const std::size_t first = line.find('|', 1);
      if (first == std::string_view::npos) continue;  // a list without mailboxes
      const std::size_t second = line.find('|', first + 1);
      cases.back().mailboxes.push_back({trimmed(line.substr(1, first - 1)),
                                        trimmed(line.substr(first + 1, second - first - 1)),
                                        trimmed(line.substr(second + 1))});
    } else {
      Case c;
      c.line = number;
      c.single = line.starts_with("single: ") || line.starts_with("both: ");
      c.list = line.starts_with("list: ") || line.starts_with("both: ");
      EXPECT_TRUE(c.single || c.list) << "line " << number;
      c.value = unescaped(line.substr(line.find(": ") + 2));
      cases.push_back(std::move(c));
    }
  }
  return cases;
}

std::string_view word(AddressError error) {
  switch (error) {
    case AddressError::kEmpty:
      return "empty";
    case AddressError::kSyntax:
      return "syntax";
    case AddressError::kTooMany:
      return "many";
    case AddressError::kGroup:
      return "group";
  }
  return "?";
}

std::string shown(const Mailbox& mailbox) {
  return testing::PrintToString(mailbox.display_name) + " | " +
         testing::PrintToString(mailbox.local_part) + " | " +
         testing::PrintToString(mailbox.domain);
}

TEST(Mailbox, EveryCaseOfTheFile) {
  const std::vector<Case> cases = read_cases();
  ASSERT_GE(cases.size(), 100U);
  for (const Case& c : cases) {
    SCOPED_TRACE("line " + std::to_string(c.line) + ": " + testing::PrintToString(c.value));
    if (c.list) {
      const auto list = parse_address_list(c.value);
      EXPECT_EQ(list ? "" : word(list.error()), c.error);
      if (list) {
        EXPECT_EQ(list->size(), c.mailboxes.size());
        for (std::size_t i = 0; i < std::min(list->size(), c.mailboxes.size()); ++i) {
          EXPECT_EQ(shown((*list)[i]), shown(c.mailboxes[i]));
        }
      }
    }
    if (c.single) {
      const auto single = parse_single_mailbox(c.value);
      EXPECT_EQ(single ? "" : word(single.error()), c.error);
      if (single && c.mailboxes.size() == 1) {
        EXPECT_EQ(shown(*single), shown(c.mailboxes[0]));
      }
    }
  }
}

TEST(Mailbox, ListLimit) {
  EXPECT_EQ(parse_address_list("a@b, c@d, e@f", 3)->size(), 3U);
  EXPECT_EQ(parse_address_list("a@b, c@d, e@f", 2).error(), AddressError::kTooMany);
  EXPECT_EQ(parse_address_list("g: a@b, c@d; , e@f", 2).error(), AddressError::kTooMany);
}

// What would take a parser that looks twice forever takes this one no time.
TEST(Mailbox, LongAndDeepInputsAreLinear) {
  const auto repeated = [](std::string_view text) {
    std::string out;
    while (out.size() < 1'000'000) out += text;
    return out;
  };
  const auto start = std::chrono::steady_clock::now();
  for (const std::string_view part : {"(", "()", "\"", "\"a\" ", "a ", "a.", "<", "<@a,", ",", "a:",
                                      "a@b,", "\\", "(\\", " ", "\r\n ", "a@b.", "[", "\xc3\xa4"}) {
    EXPECT_LE(parse_address_list(repeated(part), 1'000'000).value_or(std::vector<Mailbox>{}).size(),
              300'000U);
    (void)parse_single_mailbox(repeated(part));
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  EXPECT_LT(took.count(), 20.0);  // quadratic time would be hours
}

}  // namespace
}  // namespace mxring::mail
