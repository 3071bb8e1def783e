// The verifier on messages signed here: what passes, and above all what must not.
#include <gtest/gtest.h>

#include <random>

#include "crypto/ed25519.h"
#include "mailauth/dkim/body_canon.h"
#include "tests/mailauth/dkim_check.h"
#include "tests/mailauth/dkim_reference.h"
#include "tests/mailauth/dkim_signing.h"

namespace mxring::test {
namespace {

using mailauth::Result;
using mailauth::dkim::Canonicalization;
using mailauth::dkim::SignatureResult;

constexpr std::string_view kMessage =
    "Received: from somewhere\r\n"
    "From: Joe SixPack <joe@example.org>\r\n"
    "To: Suzie Q <suzie@shopping.example.net>\r\n"
    "Subject: Is dinner\r\n"
    "\t ready?\r\n"
    "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n"
    "\r\n"
    "Hi.\r\n"
    "\r\n"
    "We  lost the game. \t Are you hungry yet?\r\n"
    "\r\n"
    "Joe.\r\n";

SignatureResult only(const std::vector<SignatureResult>& signatures) {
  EXPECT_EQ(signatures.size(), 1U);
  return signatures.empty() ? SignatureResult() : signatures[0];
}

std::string replaced(std::string text, std::string_view what, std::string_view with) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

// A signature over what the reference makes of `hashed_header`, for fields the signer would not
// write. `tags` is all but bh= and b=.
std::string sign_by_hand(SigningDomain& domain, std::string_view tags,
                         std::string_view hashed_fields, std::string_view hashed_body) {
  const auto digest_of = [](std::string_view bytes) { return crypto::sha256(bytes); };
  const auto text_of = [](const crypto::Sha256Digest& digest) {
    return std::string(reinterpret_cast<const char*>(digest.data()), digest.size());
  };
  const std::string field = "DKIM-Signature: " + std::string(tags) +
                            "; bh=" + base::encode_base64(text_of(digest_of(hashed_body))) + "; b=";
  const auto signature = domain.key().sign(digest_of(std::string(hashed_fields) + field));
  return field + base::encode_base64(signature.value()) + "\r\n";
}

TEST(DkimVerifierTest, EveryCanonicalizationKeyAndSplit) {
  for (const auto type : {crypto::KeyType::kRsa, crypto::KeyType::kEd25519}) {
    SigningDomain domain(type);
    const Zone zone = domain.zone();
    for (const auto header : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
      for (const auto body : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
        auto options = domain.options();
        options.header = header;
        options.body = body;
        const std::string message = domain.sign(kMessage, options);
        const SignatureResult result = only(verify_dkim(message, zone));
        EXPECT_EQ(result.result, Result::kPass) << result.reason;
        EXPECT_EQ(result.domain, "example.org");
        EXPECT_EQ(result.selector, "sel");
        EXPECT_EQ(result.identity, "@example.org");
        EXPECT_EQ(result.key_bits, type == crypto::KeyType::kRsa ? 1024U : 256U);
        EXPECT_EQ(result.signature_start.size(), 12U);
        EXPECT_FALSE(result.body_limited);
        EXPECT_EQ(result.body_bytes_signed,
                  reference_body(body, kMessage.substr(kMessage.find("\r\n\r\n") + 4)).size());
        for (std::size_t run = 1; run < 40; ++run) {
          DkimSetup setup;
          setup.run_bytes = run;
          setup.keys_first = run % 2 == 0;
          ASSERT_EQ(dkim_words(message, zone, setup), "pass") << run;
        }
        for (std::size_t first = 1; first < 90; ++first) {
          DkimSetup setup;
          setup.first_run_bytes = first;
          ASSERT_EQ(dkim_words(message, zone, setup), "pass") << first;
        }
      }
    }
  }
}

// Lists and forwarders sign on top; the one signature that counts for DMARC must not be the
// eleventh.
TEST(DkimVerifierTest, OfManySignaturesThoseNearTheAuthorAreTried) {
  SigningDomain author(crypto::KeyType::kEd25519, "news.example.org", "own");
  SigningDomain other(crypto::KeyType::kEd25519, "example.net", "other");
  Zone zone;
  author.publish(zone);
  other.publish(zone);
  std::string message = author.sign(kMessage);
  for (int i = 0; i < 30; ++i) message = other.sign(message);
  // Ten are looked at; five are what one message may cost.
  EXPECT_EQ(dkim_words(message, zone),
            "pass pass pass pass pass policy policy policy policy policy");
  for (const std::string_view from : {"news.example.org", "example.org", "a.b.example.org"}) {
    DkimSetup setup;
    setup.author = from;
    const auto results = verify_dkim(message, zone, setup);
    ASSERT_EQ(results.size(), 10U);
    EXPECT_EQ(results.back().domain, "news.example.org") << from;
    EXPECT_EQ(results.back().result, Result::kPass);
    EXPECT_EQ(results.front().domain, "example.net");
  }
}

TEST(DkimVerifierTest, KeysNearTheAuthorAreAskedForFirst) {
  std::string header;
  for (const std::string_view domain :
       {"a.net", "example.org", "b.org", "x.example.org", "c.example"}) {
    header += "DKIM-Signature: v=1; a=rsa-sha256; d=" + std::string(domain) +
              "; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n";
  }
  header += "From: a@mail.example.org\r\n";
  mail::HeaderIndex index(1 << 17, 1000);
  index.feed(header);
  index.finish();
  crypto::Sha256Batch hashes;
  mailauth::dkim::Verifier verifier({}, hashes);
  verifier.begin(header, index.fields(), 1'700'000'000, "mail.example.org");
  ASSERT_FALSE(verifier.step());
  std::string asked;
  for (const dns::Question& question : verifier.questions()) asked += question.name.to_text() + " ";
  EXPECT_EQ(asked,
            "s._domainkey.example.org s._domainkey.x.example.org s._domainkey.a.net "
            "s._domainkey.b.org s._domainkey.c.example ");
  auto busy = std::make_shared<dns::Answer>();
  busy->not_asked = true;
  for (const dns::Question& question : verifier.questions()) verifier.supply(question, busy);
  for (const SignatureResult& result : verifier.signatures()) {
    EXPECT_EQ(result.result, Result::kTemperror);
    EXPECT_TRUE(result.not_asked);
  }
  verifier.abandon();
}

TEST(DkimVerifierTest, MessagesOfEveryShape) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string header = "From: a@example.org\r\n";
  std::vector<std::string> messages = {
      header,
      header + "\r\n",
      header + "\r\n\r\n\r\n",
      header + "\r\nx",
      header + "\r\n \r\n",
      header + "\r\n\t x \t\r\n  ",
      "FROM :\t a@example.org \r\n\r\nx\r\n",
      "X: " + std::string(5000, 'y') + "\r\n" + header + "\r\n" + std::string(5000, 'z'),
      "Subject: \xC3\xA4\r\n" + header + "\r\n\xFF\xFE\r\n"};
  std::mt19937 random(3);
  for (int i = 0; i < 60; ++i) {
    std::string body;
    while (random() % 30 != 0)
      body += std::string(random() % 3, ' ') + "word" + (random() % 3 == 0 ? "\r\n" : "");
    messages.push_back(header + "Subject: x\r\n  y\r\n\r\n" + body);
  }
  for (const std::string& message : messages) {
    for (const auto how : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
      auto options = domain.options();
      options.header = options.body = how;
      const std::string with = domain.sign(message, options);
      EXPECT_EQ(dkim_words(with, zone), "pass") << testing::PrintToString(message);
      DkimSetup bytewise;
      bytewise.run_bytes = 1;
      EXPECT_EQ(dkim_words(with, zone, bytewise), "pass") << testing::PrintToString(message);
    }
  }
}

TEST(DkimVerifierTest, AFlippedBitAnywhereInASignedPart) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  auto options = domain.options();
  options.header = options.body = Canonicalization::kSimple;
  const std::string message = domain.sign(kMessage, options);
  ASSERT_EQ(dkim_words(message, zone), "pass");
  const std::size_t b = message.find("\tb=") + 3;
  const std::size_t received = message.find("Received:");
  const std::size_t from = message.find("From: Joe");
  std::size_t passes = 0;
  for (std::size_t at = 0; at < message.size(); ++at) {
    if (at >= received && at < from) continue;  // not signed
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = message;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      const std::string words = dkim_words(flipped, zone);
      if (words != "pass") continue;
      ++passes;
      // White space in b= may change, and only there.
      const char c = flipped[at];
      EXPECT_TRUE(at >= b && at < received && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
          << at << ' ' << bit;
    }
  }
  EXPECT_LT(passes, 40U);
}

TEST(DkimVerifierTest, WrongKeys) {
  SigningDomain rsa(crypto::KeyType::kRsa);
  SigningDomain other(crypto::KeyType::kRsa);
  SigningDomain ed25519;
  SigningDomain other_ed25519;
  const std::string by_rsa = rsa.sign(kMessage);
  const std::string by_ed25519 = ed25519.sign(kMessage);
  EXPECT_EQ(only(verify_dkim(by_rsa, other.zone())).reason, "signature did not verify");
  EXPECT_EQ(dkim_words(by_rsa, other.zone()), "fail");
  EXPECT_EQ(dkim_words(by_ed25519, other_ed25519.zone()), "fail");
  EXPECT_EQ(dkim_words(by_rsa, ed25519.zone()), "permerror");
  EXPECT_EQ(dkim_words(by_ed25519, rsa.zone()), "permerror");
}

TEST(DkimVerifierTest, SeveralKeysAtOneName) {
  SigningDomain rsa(crypto::KeyType::kRsa);
  SigningDomain next(crypto::KeyType::kRsa);
  SigningDomain third(crypto::KeyType::kRsa);
  SigningDomain ed25519;
  Zone zone;
  zone.at(rsa.record_name()).texts.push_back({"v=spf1 -all"});
  ed25519.publish(zone);
  next.publish(zone, "; t=y");
  rsa.publish(zone);
  third.publish(zone);
  EXPECT_EQ(dkim_words(rsa.sign(kMessage), zone), "pass");
  const SignatureResult first = only(verify_dkim(next.sign(kMessage), zone));
  EXPECT_EQ(first.result, Result::kPass);
  EXPECT_TRUE(first.testing);
  EXPECT_FALSE(only(verify_dkim(rsa.sign(kMessage), zone)).testing);
  EXPECT_EQ(dkim_words(ed25519.sign(kMessage), zone), "pass");
  // Two keys of a kind are tried, not more.
  EXPECT_EQ(dkim_words(third.sign(kMessage), zone), "fail");
}

TEST(DkimVerifierTest, KeysThatAreNotForThis) {
  SigningDomain domain;
  const std::string message = domain.sign(kMessage);
  const auto with = [&](std::string_view extra) {
    Zone zone;
    domain.publish(zone, extra);
    return dkim_words(message, zone);
  };
  EXPECT_EQ(with("; s=email; h=sha256; t=s"), "pass");
  EXPECT_EQ(with("; s=tlsrpt"), "permerror");
  EXPECT_EQ(with("; h=sha1"), "permerror");
  EXPECT_EQ(with("; broken"), "permerror");
  EXPECT_EQ(dkim_words(message, Zone()), "permerror");
  Zone failing;
  failing.at(domain.record_name()).fault = Fault::kServerFailure;
  EXPECT_EQ(dkim_words(message, failing), "temperror");
  Zone silent;
  silent.at(domain.record_name()).fault = Fault::kSilent;
  EXPECT_EQ(dkim_words(message, silent), "temperror");
}

TEST(DkimVerifierTest, KeySizes) {
  SigningDomain domain(crypto::KeyType::kRsa, "example.org", "sel", 2048);
  const std::string message = domain.sign(kMessage);
  DkimSetup setup;
  EXPECT_EQ(only(verify_dkim(message, domain.zone(), setup)).key_bits, 2048U);
  setup.limits.rsa_bits_min = 2049;
  const SignatureResult weak = only(verify_dkim(message, domain.zone(), setup));
  EXPECT_EQ(weak.result, Result::kPolicy);
  EXPECT_EQ(weak.reason, "the RSA key is too short");
  setup.limits.rsa_bits_min = 1024;
  setup.limits.rsa_bits_max = 2047;
  EXPECT_EQ(dkim_words(message, domain.zone(), setup), "policy");
  // A key of 512 bits (one of Mail::DKIM's), which signed something else: it is never even tried.
  Zone zone;
  zone.at(domain.record_name())
      .texts.push_back({"v=DKIM1; p=MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALgSoqXVSEmfcIsOzw7oRuCCOwsmtX/"
                        "SJnTWxYyj2leFxfS/AVJ+dYfY+hXqMsT7l+MZvvh/R1WzN4MO/kI/7XsCAwEAAQ=="});
  EXPECT_EQ(dkim_words(message, zone), "policy");
}

TEST(DkimVerifierTest, AnAddedFromDoesNotPass) {
  SigningDomain domain;
  const std::string message = domain.sign(kMessage);
  const Zone zone = domain.zone();
  EXPECT_EQ(dkim_words("From: evil@example.net\r\n" + message, zone), "fail");
  EXPECT_EQ(dkim_words(replaced(message, "To: Suzie", "From: evil@example.net\r\nTo: Suzie"), zone),
            "fail");
  // Fields that are not signed may come and go, of signed ones another on top.
  EXPECT_EQ(dkim_words("X-New: 1\r\n" + message, zone), "pass");
  EXPECT_EQ(dkim_words("Subject: another\r\n" + message, zone), "pass");
  EXPECT_EQ(dkim_words(replaced(message, "Subject: Is", "Subject: Was"), zone), "fail");
  EXPECT_EQ(
      dkim_words(replaced(message, "Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\r\n", ""), zone),
      "fail");
}

TEST(DkimVerifierTest, FieldsAreTakenFromTheBottom) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string message =
      "X: top\r\nX: middle\r\nx : bottom\r\nFrom: a@example.org\r\n\r\nbody\r\n";
  auto options = domain.options();
  options.signed_fields = {"x", "From", "X", "x", "x", "From"};
  const std::string with = domain.sign(message, options);
  EXPECT_EQ(dkim_words(with, zone), "pass");
  EXPECT_EQ(dkim_words(replaced(with, "X: top", "X: pot"), zone), "fail");
  EXPECT_EQ(dkim_words("X: fourth\r\n" + with, zone), "fail");
  options.signed_fields = {"x", "X", "From"};
  const std::string two = domain.sign(message, options);
  EXPECT_EQ(dkim_words(replaced(two, "X: top", "X: pot"), zone), "pass");
  EXPECT_EQ(dkim_words(replaced(two, "X: middle", "X: elddim"), zone), "fail");
  EXPECT_EQ(dkim_words(replaced(two, "x : bottom", "x : mottob"), zone), "fail");
  // By hand: bottom first, then upwards, and nothing for the name that is used up.
  const std::string by_hand =
      sign_by_hand(domain, "v=1; a=ed25519-sha256; d=example.org; s=sel; h=x:from:x:x:x:nosuch",
                   "x : bottom\r\nFrom: a@example.org\r\nX: middle\r\nX: top\r\n", "body\r\n");
  EXPECT_EQ(dkim_words(by_hand + message, zone), "pass");
}

TEST(DkimVerifierTest, ASignatureDoesNotSignItself) {
  SigningDomain domain;
  const std::string message = "From: a@example.org\r\n\r\nbody\r\n";
  const std::string first = domain.sign(message);
  const std::string first_field = first.substr(0, first.size() - message.size());
  const std::string second =
      sign_by_hand(domain,
                   "v=1; a=ed25519-sha256; d=example.org; s=sel; h=from:dkim-signature:"
                   "dkim-signature",
                   "From: a@example.org\r\n" + first_field, "body\r\n");
  // Wherever the second stands, it means the first.
  EXPECT_EQ(dkim_words(second + first, domain.zone()), "pass pass");
  EXPECT_EQ(dkim_words(first_field + second + message, domain.zone()), "pass pass");
}

TEST(DkimVerifierTest, LimitedBodies) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string header = "From: a@example.org\r\n";
  const auto message = [&](std::string_view l, std::string_view hashed, std::string_view body) {
    return sign_by_hand(domain,
                        fmt::format("v=1; a=ed25519-sha256; d=example.org; s=sel; h=from; "
                                    "l={}",
                                    l),
                        header, hashed) +
           header + "\r\n" + std::string(body);
  };
  const SignatureResult exact = only(verify_dkim(message("6", "body\r\n", "body\r\n"), zone));
  EXPECT_EQ(exact.result, Result::kPass);
  EXPECT_FALSE(exact.body_limited);
  const SignatureResult appended =
      only(verify_dkim(message("6", "body\r\n", "body\r\nappended\r\n"), zone));
  EXPECT_EQ(appended.result, Result::kPass);
  EXPECT_TRUE(appended.body_limited);
  EXPECT_EQ(appended.body_bytes_signed, 6U);
  EXPECT_TRUE(only(verify_dkim(message("0", "", "anything\r\n"), zone)).body_limited);
  EXPECT_TRUE(only(verify_dkim(message("3", "bod", "body\r\n"), zone)).body_limited);
  const SignatureResult shorter = only(verify_dkim(message("7", "body\r\n", "body\r\n"), zone));
  EXPECT_EQ(shorter.result, Result::kFail);
  EXPECT_EQ(shorter.reason, "the body is shorter than l= says");
  EXPECT_EQ(dkim_words(message("6", "body\r\n", "Body\r\nappended\r\n"), zone), "fail");
  for (std::size_t run = 1; run < 12; ++run) {
    DkimSetup setup;
    setup.run_bytes = run;
    EXPECT_TRUE(
        only(verify_dkim(message("6", "body\r\n", "body\r\nmore\r\n"), zone, setup)).body_limited);
  }
  // Without l= nothing may be appended.
  EXPECT_EQ(dkim_words(domain.sign(kMessage) + "appended\r\n", zone), "fail");
}

TEST(DkimVerifierTest, TimesAndIdentities) {
  SigningDomain domain;
  Zone zone = domain.zone();
  auto options = domain.options();
  options.expire_after_s = 100;
  const std::string message = domain.sign(kMessage, options);
  DkimSetup setup;
  setup.now_unix_s = options.now_unix_s + 100;
  EXPECT_EQ(dkim_words(message, zone, setup), "pass");
  ++setup.now_unix_s;
  const SignatureResult expired = only(verify_dkim(message, zone, setup));
  EXPECT_EQ(expired.result, Result::kPolicy);
  EXPECT_EQ(expired.reason, "the signature has expired");
  // Signed in the future: clocks differ.
  setup.now_unix_s = options.now_unix_s - 1000;
  EXPECT_EQ(dkim_words(message, zone, setup), "pass");

  const std::string header = "From: a@example.org\r\n";
  const std::string below =
      sign_by_hand(domain,
                   "v=1; a=ed25519-sha256; d=example.org; s=sel; h=from; i=a=20b@x.example.org",
                   header, "\r\n") +
      header;
  EXPECT_EQ(only(verify_dkim(below, zone)).identity, "a b@x.example.org");
  EXPECT_EQ(dkim_words(below, zone), "pass");
  Zone strict;
  domain.publish(strict, "; t=s");
  EXPECT_EQ(dkim_words(below, strict), "permerror");
}

TEST(DkimVerifierTest, OldAlgorithmsNeverPass) {
  SigningDomain domain(crypto::KeyType::kRsa);
  const std::string message = replaced(domain.sign(kMessage), "rsa-sha256", "rsa-sha1");
  EXPECT_NE(dkim_words(message, domain.zone()), "pass");
  const std::string well_formed =
      "DKIM-Signature: v=1; a=rsa-sha1; d=example.org; s=sel; h=from;\r\n"
      " bh=uoq1oCgLlTqpdDX/iUbLy7J1Wic=; b=AAAA\r\n" +
      std::string(kMessage);
  EXPECT_EQ(dkim_words(well_formed, domain.zone()), "policy");
}

TEST(DkimVerifierTest, OnlySoManySignaturesAreTried) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  std::string message = domain.sign(kMessage);
  const std::string field = message.substr(0, message.size() - kMessage.size());
  for (int i = 0; i < 9; ++i) message = "DKIM-Signature: nonsense\r\n" + message;
  EXPECT_EQ(dkim_words(message, zone),
            "neutral neutral neutral neutral neutral neutral neutral neutral neutral pass");
  message = "DKIM-Signature: nonsense\r\n" + message;
  EXPECT_EQ(verify_dkim(message, zone).size(), 10U);
  EXPECT_EQ(dkim_words(message, zone).find("pass"), std::string::npos);
  EXPECT_EQ(dkim_words(kMessage, zone), "");
}

TEST(DkimVerifierTest, UnicodeDomains) {
  SigningDomain domain(crypto::KeyType::kEd25519, "xn--kln-sna.example");
  const std::string header = "From: a@k\xC3\xB6ln.example\r\n";
  const std::string message =
      sign_by_hand(domain, "v=1; a=ed25519-sha256; d=K\xC3\xB6LN.example; s=sel; h=from", header,
                   "\r\n") +
      header;
  const SignatureResult result = only(verify_dkim(message, domain.zone()));
  EXPECT_EQ(result.result, Result::kPass) << result.reason;
  EXPECT_EQ(result.domain, "xn--kln-sna.example");
}

// One verifier for message after message, as a session has it.
class ReusedVerifierTest : public testing::Test {
 protected:
  void begin(std::string_view message) {
    index_.reset();
    index_.feed(message);
    index_.finish();
    verifier_.begin(message.substr(0, index_.header_bytes()), index_.fields(), 1'700'000'000);
    body_ = message.substr(index_.body_begin());
  }
  std::string conclude() {
    verifier_.body(body_);
    verifier_.end_of_body();
    hashes_.flush();
    std::vector<crypto::RsaCheck*> checks;
    verifier_.collect(checks);
    rsa_.verify(checks);
    verifier_.conclude();
    return dkim_words({verifier_.signatures().begin(), verifier_.signatures().end()});
  }
  void answer(const Zone& zone) {
    EXPECT_FALSE(verifier_.step());
    for (const dns::Question& question : verifier_.questions()) {
      verifier_.supply(question, zone.answer(question));
    }
    EXPECT_TRUE(verifier_.step());
  }

  crypto::Sha256Batch hashes_;
  crypto::RsaVerifier rsa_;
  mailauth::dkim::Verifier verifier_{{}, hashes_};
  mail::HeaderIndex index_{UINT32_MAX, UINT32_MAX};
  std::string_view body_;
};

TEST_F(ReusedVerifierTest, SharedQuestionsAndHashes) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string message = domain.sign(domain.sign(domain.sign(kMessage)));
  begin(message);
  EXPECT_EQ(verifier_.questions().size(), 1U);
  answer(zone);
  EXPECT_EQ(conclude(), "pass pass pass");
}

TEST_F(ReusedVerifierTest, AbandonedMessagesLeaveNothingBehind) {
  SigningDomain domain;
  const Zone zone = domain.zone();
  const std::string message = domain.sign(kMessage);
  for (int round = 0; round < 3; ++round) {
    {
      const std::string gone = message;
      begin(gone);
      verifier_.body(std::string_view(gone).substr(40));
      verifier_.abandon();
    }
    hashes_.flush();
    EXPECT_EQ(verifier_.signatures().size(), 0U);
    begin(message);
    answer(zone);
    EXPECT_EQ(conclude(), "pass");
    // And without abandon(): begin() does it.
    {
      const std::string gone = message;
      begin(gone);
    }
    begin(kMessage);
    hashes_.flush();
    EXPECT_FALSE(verifier_.has_signatures());
    EXPECT_TRUE(verifier_.step());
    EXPECT_EQ(conclude(), "");
  }
}

TEST_F(ReusedVerifierTest, GivingUp) {
  SigningDomain domain;
  SigningDomain other(crypto::KeyType::kRsa, "example.net");
  Zone zone = domain.zone();
  const std::string message = domain.sign(other.sign(kMessage));
  begin(message);
  EXPECT_EQ(verifier_.questions().size(), 2U);
  verifier_.supply(verifier_.questions()[0], zone.answer(verifier_.questions()[0]));
  // Twice, or about something else, changes nothing.
  verifier_.supply(verifier_.questions()[0], dns::make_failure(dns::Status::kTimeout));
  verifier_.supply({*dns::Name::parse("x.example"), dns::Type::kTxt},
                   dns::make_failure(dns::Status::kTimeout));
  EXPECT_FALSE(verifier_.step());
  verifier_.give_up();
  EXPECT_TRUE(verifier_.step());
  EXPECT_EQ(conclude(), "pass temperror");
}

}  // namespace
}  // namespace mxring::test
