// Broken From values, made at random, against readers that are as naive as those out there: what is
// accepted must be the only domain that any of them finds, and what names one domain must be
// accepted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <ctime>
#include <optional>
#include <random>

#include "base/base64.h"
#include "base/text.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/author_strict.h"

namespace mxring::mailauth::dmarc {
namespace {

// As it is sent, and as it is once its encoded words are decoded.
struct Value {
  std::string raw;
  std::string decoded;
  bool has_other_domain = false;
};

class Generator {
 public:
  explicit Generator(unsigned seed) : random_(seed) {}

  Value make(bool one_domain) {
    value_ = {};
    one_domain_ = one_domain;
    for (std::size_t i = 0, count = below(6); i < count; ++i) {
      add_piece();
      if (one_domain || below(4) != 0) both(" ");
    }
    if (one_domain || below(4) != 0) both("<x@" + domain() + ">");
    if (below(4) == 0) both(pick({";", ",", " ", ".", ", ;", " x"}));
    return value_;
  }

 private:
  std::size_t below(std::size_t n) { return random_() % n; }
  std::string pick(std::vector<std::string> from) { return from[below(from.size())]; }
  void both(const std::string& text) {
    value_.raw += text;
    value_.decoded += text;
  }
  std::string domain() {
    if (one_domain_ || below(6) != 0) return "shop.example";
    value_.has_other_domain = true;
    return pick({"bank.example", "a.shop.example", "shop.example.net"});
  }
  std::string text() {
    return pick({"Foo", "Foo, Bar", "A [B]", "x; y", "Stage: A", "Inc", "a@" + domain(), "@ Sea",
                 "a@" + domain() + ",", "B@C", ""});
  }
  void add_piece() {
    switch (below(7)) {
      case 0:
        return both(pick({",", ";", ":", "[", "]", "@", one_domain_ ? "x" : ".", "Foo", "Inc",
                          "A B", "at 5.30"}));
      case 1:
        return both("\"" + text() + "\"");
      case 2:
        return both("(" + text() + ")");
      case 3:
        return both("b@" + domain() + (one_domain_ ? ";" : ""));
      case 4:
        return add_q(text());
      case 5:
        return add_b(text());
      default:
        return both(pick({"Foo", "Bar", " M\xC3\xBCller", one_domain_ ? "=" : "=?", "?="}));
    }
  }
  void add_q(const std::string& plain) {
    value_.raw += "=?utf-8?Q?";
    for (const char c : plain) {
      if (c == ' ') {
        value_.raw += below(2) == 0 ? "_" : " ";
      } else if (below(3) == 0 &&
                 (!one_domain_ || std::isalnum(static_cast<unsigned char>(c)) == 0)) {
        char hex[4];
        std::snprintf(hex, sizeof hex, "=%02X", static_cast<unsigned char>(c));
        value_.raw += hex;
      } else {
        value_.raw += c;
      }
    }
    value_.raw += "?=";
    value_.decoded += plain;
    // Nothing is between two of them once they are decoded.
    if (one_domain_) both(" x");
  }
  void add_b(const std::string& plain) {
    value_.raw += "=?UTF-8?b?" + base::encode_base64(plain) + "?=";
    value_.decoded += plain;
    if (one_domain_) both(" x");
  }

  std::mt19937 random_;
  Value value_;
  bool one_domain_ = false;
};

// ---- Readers

std::string without(std::string text, std::string_view characters) {
  std::erase_if(text, [&](char c) { return characters.contains(c); });
  return text;
}

std::string without_comments(const std::string& text) {
  std::string out;
  int depth = 0;
  for (const char c : text) {
    if (c == '(') ++depth;
    if (depth == 0) out += c;
    if (c == ')' && depth > 0) --depth;
  }
  return out;
}

// What follows the at sign, as far as it can be a host's name; "" when nobody could have a policy
// there.
std::string host(const std::string& text, std::size_t at) {
  if (at == std::string::npos) return "";
  std::size_t end = at + 1;
  while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) != 0 ||
                               text[end] == '.' || text[end] == '-')) {
    ++end;
  }
  std::string found = text.substr(at + 1, end - at - 1);
  std::ranges::transform(found, found.begin(), base::ascii_lower);
  while (found.ends_with('.')) found.pop_back();
  while (found.starts_with('.')) found.erase(0, 1);
  return found.find_first_of("abcdefghijklmnopqrstuvwxyz", found.find('.')) == std::string::npos ||
                 found.find('.') == std::string::npos
             ? ""
             : found;
}

std::vector<std::string> read_naively(const std::string& text) {
  std::vector<std::string> found;
  for (const std::string& form : {text, without(text, "\"\\"), without_comments(text),
                                  without_comments(without(text, "\""))}) {
    found.push_back(host(form, form.find('@')));
    found.push_back(host(form, form.rfind('@')));
    for (const std::size_t open : {form.find('<'), form.rfind('<')}) {
      if (open == std::string::npos) continue;
      const std::string inside = form.substr(open, form.find('>', open) - open);
      found.push_back(host(inside, inside.find('@')));
      found.push_back(host(inside, inside.rfind('@')));
    }
    for (const char separator : {',', ';', ':', '[', ' '}) {
      const std::string first = form.substr(0, form.find(separator));
      found.push_back(host(first, first.rfind('@')));
      const std::size_t last = form.rfind(separator);
      if (last != std::string::npos)
        found.push_back(host(form.substr(last), form.substr(last).find('@')));
    }
  }
  std::erase(found, "");
  return found;
}

TEST(DmarcAuthorReadingsTest, WhatIsAcceptedIsTheOnlyDomainThatAnybodyFinds) {
  Generator generator(1);
  AuthorScratch scratch;
  int accepted = 0;
  int refused = 0;
  for (int i = 0; i < 15'000; ++i) {
    const Value value = generator.make(false);
    // In strict syntax everybody reads the same, and a display name may say anything.
    if (parse_strict_author(value.raw, scratch).parsed) continue;
    const auto author = parse_author_domain(value.raw, scratch);
    if (!author) {
      ++refused;
      continue;
    }
    ++accepted;
    const std::string domain(*author);
    for (const std::string* text : {&value.raw, &value.decoded}) {
      for (const std::string& found : read_naively(*text)) {
        ASSERT_EQ(found, domain) << value.raw << "\n" << *text;
      }
    }
    ASSERT_FALSE(value.has_other_domain && domain == "shop.example" &&
                 value.decoded.find("bank.example") != std::string::npos)
        << value.raw;
  }
  std::printf("%d accepted, %d refused\n", accepted, refused);
  EXPECT_GT(accepted, 3'000);
  EXPECT_GT(refused, 3'000);
}

TEST(DmarcAuthorReadingsTest, WhatNamesOneDomainIsAccepted) {
  Generator generator(2);
  AuthorScratch scratch;
  int accepted = 0;
  for (int i = 0; i < 15'000; ++i) {
    const Value value = generator.make(true);
    if (mail::parse_address_list(value.raw)) continue;  // several authors, or strict
    const auto author = parse_author_domain(value.raw, scratch);
    ASSERT_TRUE(author) << value.raw << "\n" << value.decoded;
    ASSERT_EQ(*author, "shop.example") << value.raw;
    ++accepted;
  }
  EXPECT_GT(accepted, 6'000);
}

// Not a byte more than what it weighs.
TEST(DmarcAuthorReadingsTest, LongValuesAreReadInLinearTime) {
  AuthorScratch scratch;
  const auto cpu_ms = [&](const std::string& unit, std::size_t bytes) {
    std::string value = "Foo, ";
    while (value.size() < bytes) value += unit;
    value += " <x@shop.example>";
    double best = 1e9;
    for (int i = 0; i < 3; ++i) {
      const std::clock_t begin = std::clock();
      (void)parse_author_domain(value, scratch);
      best = std::min(best, static_cast<double>(std::clock() - begin) * 1e3 / CLOCKS_PER_SEC);
    }
    return best;
  };
  for (const std::string unit :
       {"=?", "=?utf-8?Q?", "=?utf-8?Q?a=40shop.example?= ", "(", "((", "(x)", "\"x\"", "\\", "@",
        "@ ", "@shop.example ", "@\xEF\xBC\xB3hop.example ", "\xE2\x80\x8B", "<",
        "<x@shop.example>", "a.", "=?utf-8?b?"}) {
    const double small = cpu_ms(unit, 4'000);
    const double large = cpu_ms(unit, 64'000);
    EXPECT_LT(large, 16 * 6 * small + 4) << unit << ' ' << small << ' ' << large;
  }
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
