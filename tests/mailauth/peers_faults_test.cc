// Faults that other mail programs had in a year, in our modules: see tests/PEERS_FAULTS.md.
#include <gtest/gtest.h>

#include <array>
#include <string>

#include "crypto/rsa.h"
#include "mail/header_index.h"
#include "mail/mailbox.h"
#include "mailauth/disposition.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/evaluation.h"
#include "mailauth/spf/evaluator.h"
#include "tests/mailauth/arc_check.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_signing.h"

namespace mxring::test {
namespace {

using mailauth::Result;
using mailauth::dmarc::Authenticated;

constexpr std::string_view kLetter = "From: Joe <joe@example.org>\r\nSubject: x\r\n\r\nHello.\r\n";

// A verdict that nobody vouches for is no pass, whatever the policy asks, whatever is strict, and
// whatever other domains have authenticated or may have.
TEST(PeersFaults, DmarcDoesNotPassWhenNothingIsAuthenticated) {
  using Method = Authenticated::Method;
  const std::vector<std::vector<Authenticated>> vouchers{
      {},
      {{Method::kSpf, ""}},
      {{Method::kSpf, "other.example"}, {Method::kDkim, "other.example"}},
      {{Method::kDkim, "example.org.other.example"}},
      {{Method::kDkim, "xexample.org"}},
      {{Method::kDkim, "org"}},
      {{Method::kSpf, "example.org", true}},
      {{Method::kDkim, "example.org", true}},
      {{Method::kSpf, "example.org", true, true}}};
  for (const std::string_view policy : {"none", "quarantine", "reject"}) {
    for (const std::string_view more :
         {"", "; t=y", "; adkim=s; aspf=s", "; adkim=r; aspf=r", "; sp=none; np=none", "; p=x"}) {
      const Zone zone = Zone::parse("_dmarc.example.org TXT \"v=DMARC1; p=" + std::string(policy) +
                                    std::string(more) + "\"\n");
      for (const auto& domains : vouchers) {
        mailauth::dmarc::Evaluator evaluator;
        evaluator.begin("example.org");
        evaluator.authenticated(domains);
        while (!evaluator.step()) {
          for (const dns::Question& question : evaluator.questions()) {
            evaluator.supply(question, zone.answer(question));
          }
        }
        ASSERT_TRUE(evaluator.done());
        EXPECT_NE(evaluator.outcome().result, Result::kPass) << policy << more;
        EXPECT_EQ(evaluator.outcome().aligned_spf + evaluator.outcome().aligned_dkim, "");
      }
    }
  }
}

// U+200B is invisible: no name, no record and no address may mean more or less with it than
// without.
TEST(PeersFaults, ZeroWidthSpaceMakesNoOtherDomain) {
  mailauth::dmarc::AuthorScratch scratch;
  for (const std::string_view value :
       {"a@bank\xE2\x80\x8B.example",
        "\xE2\x80\x8B"
        "a@bank.example",
        "A\xE2\x80\x8B <a@bank.example>", "<a@bank.exam\xE2\x80\x8Bple>",
        "a@bank.example\xE2\x80\x8B", "a@bank.example \xE2\x80\x8B"}) {
    const auto author = mailauth::dmarc::parse_author_domain(value, scratch);
    EXPECT_EQ(author.value_or("bank.example"), "bank.example") << value;
  }
  const auto spf = [](const std::string& zone, std::string_view mail_from) {
    mailauth::spf::Evaluator evaluator;
    evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                     .mail_from = mail_from,
                     .helo = "h.example"});
    const Zone parsed = Zone::parse(zone);
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        evaluator.supply(question, parsed.answer(question));
      }
    }
    return evaluator.outcome().result;
  };
  const std::string record = "start.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n";
  EXPECT_EQ(spf(record, "a@start.example"), Result::kPass);
  // In the sender's domain it is nothing (UTS #46), or there is no such domain; in a record it is
  // an error of syntax, wherever it stands, and no mechanism is passed over for it.
  const Result hidden = spf(record, "a@start\xE2\x80\x8B.example");
  EXPECT_TRUE(hidden == Result::kPass || hidden == Result::kNone);
  for (const std::string_view broken :
       {"v=spf1 \xE2\x80\x8B"
        "ip4:192.0.2.1 -all",
        "v=spf1 ip4:192.0.2.1\xE2\x80\x8B -all", "v=spf1 -all\xE2\x80\x8B",
        "v=spf1 a:star\xE2\x80\x8Bt.example -all"}) {
    EXPECT_EQ(spf("start.example TXT \"" + std::string(broken) + "\"\n", "a@start.example"),
              Result::kPermerror)
        << broken;
  }
  EXPECT_EQ(spf("start.example TXT \"\xE2\x80\x8Bv=spf1 +all\"\n", "a@start.example"),
            Result::kNone);
}

// Where the tag's name stands, after white space.
std::size_t tag_at(const std::string& message, std::string_view tag) {
  for (const char before : {' ', '\t'}) {
    const std::size_t at = message.find(before + std::string(tag) + "=");
    if (at != std::string::npos) return at + 1;
  }
  ADD_FAILURE() << "no tag " << tag << " in " << message;
  return 0;
}

std::string cut_tag(std::string message, std::string_view tag, std::size_t left) {
  const std::size_t at = tag_at(message, tag) + tag.size() + 1;
  std::size_t end = message.find(';', at);
  end = std::min(end, message.find("\r\nFrom", at));
  std::string value = message.substr(at, end - at);
  std::erase_if(value, [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; });
  return message.replace(at, end - at, value.substr(0, left));
}

// Comparing as many bytes as the signer sent is comparing none of them when it sends none.
TEST(PeersFaults, ShortHashesAndSignaturesDoNotMatch) {
  for (const auto type : {crypto::KeyType::kRsa, crypto::KeyType::kEd25519}) {
    SigningDomain domain(type);
    const Zone zone = domain.zone();
    const std::string message = domain.sign(kLetter);
    ASSERT_EQ(dkim_words(message, zone), "pass");
    for (const std::size_t left : {0U, 1U, 2U, 3U, 4U, 8U, 20U, 40U, 43U}) {
      EXPECT_NE(dkim_words(cut_tag(message, "bh", left), zone), "pass") << "bh " << left;
      EXPECT_NE(dkim_words(cut_tag(message, "b", left), zone), "pass") << "b " << left;
    }
  }
}

TEST(PeersFaults, SignaturesWithoutATagThatTheyNeed) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string message = domain.sign(kLetter);
  for (const std::string_view tag : {"v", "a", "b", "bh", "d", "h", "s"}) {
    std::string without = message;
    // Under an unknown name the tag is there for nobody.
    without.replace(tag_at(message, tag), tag.size(), "x" + std::string(tag));
    EXPECT_EQ(dkim_words(without, zone), "neutral") << tag;
  }
}

// Two fields of one kind in a set, and a set without one, are no chain.
TEST(PeersFaults, TwoResultsFieldsInASet) {
  constexpr std::string_view kSeal =
      "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=e.org; s=s; b=AAAA\r\n";
  constexpr std::string_view kSignature =
      "ARC-Message-Signature: i=1; a=rsa-sha256; d=e.org; s=s; h=from;\r\n"
      " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";
  constexpr std::string_view kResults = "ARC-Authentication-Results: i=1; mx.e.org; dkim=pass\r\n";
  const auto outcome = [&](std::string header) {
    return verify_arc(header + std::string(kLetter), Zone());
  };
  const std::string whole = std::string(kSeal) + std::string(kSignature) + std::string(kResults);
  for (const std::string_view twice : {kSeal, kSignature, kResults}) {
    const auto found = outcome(whole + std::string(twice));
    EXPECT_EQ(found.result, Result::kFail);
    EXPECT_NE(found.reason.find("two ARC fields of one kind"), std::string::npos) << found.reason;
  }
  EXPECT_EQ(outcome(std::string(kSeal) + std::string(kSignature)).result, Result::kFail);
}

// Whoever a forwarder is, a seal of it that does not hold, or holds, lends nothing to a message
// that fails DMARC.
TEST(PeersFaults, ABrokenSealOfAForwarder) {
  const std::string text =
      "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=forwarder.example; s=s; b=AAAA\r\n"
      "ARC-Message-Signature: i=1; a=rsa-sha256; d=forwarder.example; s=s; h=from;\r\n"
      " bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
      "ARC-Authentication-Results: i=1; forwarder.example; dmarc=pass header.from=example.org\r\n"
      "From: Joe <joe@example.org>\r\n";
  const Zone zone = Zone::parse("_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n");
  mail::HeaderIndex index(1 << 17, 1000);
  index.feed(text);
  index.finish();
  crypto::Sha256Batch hashes;
  mailauth::Evaluation evaluation({}, {}, hashes);
  evaluation.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                    .mail_from = "x@forwarder.example",
                    .helo = "forwarder.example"});
  const auto answer = [&] {
    for (const mailauth::Part part : mailauth::kParts) {
      while (!evaluation.step(part)) {
        for (const dns::Question& question : evaluation.questions(part)) {
          evaluation.supply(part, question, zone.answer(question));
        }
      }
    }
  };
  answer();
  evaluation.header(text, index.fields(), 1'700'000'000);
  evaluation.end_of_body();
  hashes.flush();
  answer();
  std::vector<crypto::RsaCheck*> checks;
  evaluation.collect(checks);
  crypto::RsaVerifier().verify(checks);
  evaluation.conclude();
  answer();
  ASSERT_TRUE(evaluation.done());
  EXPECT_EQ(evaluation.arc()->result, Result::kFail);
  EXPECT_EQ(evaluation.dmarc()->result, Result::kFail);
  EXPECT_EQ(mailauth::decide(evaluation.dmarc(), {}), mailauth::Disposition::kReject);
}

// A parser that calls itself for each bracket ends with the stack.
TEST(PeersFaults, CommentsOfAnyDepth) {
  mailauth::dmarc::AuthorScratch scratch;
  for (const std::size_t depth : {31U, 32U, 33U, 1000U, 60'000U}) {
    const std::string comment = std::string(depth, '(') + std::string(depth, ')');
    for (const std::string& value : {"a@example.org " + comment, comment + " a@example.org",
                                     "Foo, " + comment + " <a@example.org>"}) {
      const auto author = mailauth::dmarc::parse_author_domain(value, scratch);
      EXPECT_EQ(author.value_or("example.org"), "example.org");
    }
    EXPECT_FALSE(mailauth::dmarc::parse_author_domain(std::string(depth, '('), scratch));
    EXPECT_FALSE(
        mailauth::dmarc::parse_author_domain("a@example.org" + std::string(depth, '('), scratch));
  }
}

// Keys beside the usual sizes; those of 1,025 or 2,047 bits are in rsa_vectors.txt.
TEST(PeersFaults, KeysOfOddSize) {
  for (const std::uint32_t bits : {1024U, 1040U, 1072U, 1536U, 2032U, 2064U}) {
    SigningDomain domain(crypto::KeyType::kRsa, "example.org", "sel", bits);
    const std::string message = domain.sign(kLetter);
    const auto results = verify_dkim(message, domain.zone());
    ASSERT_EQ(results.size(), 1U);
    EXPECT_EQ(results[0].key_bits, bits);
    EXPECT_EQ(results[0].result, Result::kPass) << bits << results[0].reason;
    // One octet more or less is not this signature.
    std::string longer = message;
    longer.insert(tag_at(message, "b") + 2, "AAAA");
    EXPECT_NE(dkim_words(longer, domain.zone()), "pass") << bits;
  }
}

}  // namespace
}  // namespace mxring::test
