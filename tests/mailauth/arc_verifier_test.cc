// Chains made here, sealed with a key made here, and then damaged in every way.
#include <gtest/gtest.h>

#include "base/base64.h"
#include "mailauth/arc/arc_set.h"
#include "mailauth/arc/verifier.h"
#include "tests/mailauth/arc_check.h"
#include "tests/mailauth/dkim_signing.h"

namespace mxring::test {
namespace {

using mailauth::Result;
using mailauth::arc::Outcome;

crypto::Sha256Digest digest_of(std::string_view text) {
  crypto::Sha256Batch hashes;
  crypto::Sha256Stream stream;
  hashes.append(stream, text);
  hashes.finish(stream);
  hashes.flush();
  return stream.digest();
}

struct Set {
  std::string results;
  std::string message_signature;
  std::string seal;
};

// A message whose fields are all written in the relaxed form already, so that what is signed is
// what stands there.
struct Sealed {
  std::vector<Set> sets;
  std::string from = "from:user@example.org\r\n";
  std::string subject = "subject:hello\r\n";
  std::string body = "text\r\n";

  std::string text() const {
    std::string out;
    for (std::size_t i = sets.size(); i-- > 0;) {
      out += sets[i].seal + sets[i].message_signature + sets[i].results;
    }
    return out + from + subject + "\r\n" + body;
  }
};

struct How {
  std::string cv = {};  // empty: the right one
  std::string message_tags = {};
  std::string seal_tags = {};
  std::string signed_fields = "from:subject";
};

void seal(Sealed& message, SigningDomain& signer, const How& how = {}) {
  const std::size_t instance = message.sets.size() + 1;
  const bool rsa = signer.key().type() == crypto::KeyType::kRsa;
  const std::string who = fmt::format("; a={}-sha256; d={}; s={}; ", rsa ? "rsa" : "ed25519",
                                      signer.options().domain, signer.options().selector);
  const auto sign = [&](const std::string& covered) {
    return base::encode_base64(*signer.key().sign(digest_of(covered)));
  };
  const auto body_hash = digest_of(message.body);
  Set set;
  set.results = fmt::format("arc-authentication-results:i={}; mx.example.net; none\r\n", instance);
  std::string own = fmt::format(
      "arc-message-signature:i={}{}c=relaxed/relaxed; {}h={}; bh={}; b=", instance, who,
      how.message_tags, how.signed_fields,
      base::encode_base64({reinterpret_cast<const char*>(body_hash.data()), body_hash.size()}));
  std::string covered =
      how.signed_fields == "from:subject" ? message.from + message.subject : message.subject;
  set.message_signature = own + sign(covered + own) + "\r\n";
  covered.clear();
  for (const Set& earlier : message.sets) {
    covered += earlier.results + earlier.message_signature + earlier.seal;
  }
  const std::string cv = !how.cv.empty() ? how.cv : instance == 1 ? "none" : "pass";
  own = fmt::format("arc-seal:i={}{}cv={}; {}b=", instance, who, cv, how.seal_tags);
  set.seal = own + sign(covered + set.results + set.message_signature + own) + "\r\n";
  message.sets.push_back(std::move(set));
}

class ArcVerifierTest : public testing::Test {
 protected:
  Sealed chain(std::size_t sets) {
    Sealed message;
    for (std::size_t i = 0; i < sets; ++i) seal(message, signer);
    return message;
  }
  Outcome check(const Sealed& message) { return verify_arc(message.text(), signer.zone()); }

  SigningDomain signer{crypto::KeyType::kRsa};
};

TEST_F(ArcVerifierTest, ChainsOfEveryLengthPass) {
  Sealed message;
  for (std::uint32_t sets = 1; sets <= mailauth::arc::kSetsChecked; ++sets) {
    seal(message, signer);
    const Outcome outcome = check(message);
    EXPECT_EQ(outcome.result, Result::kPass) << outcome.reason;
    EXPECT_EQ(outcome.sets, sets);
    // Of longer chains not all message signatures are looked at.
    const std::uint32_t looked_at = mailauth::arc::kProofsMax - sets;
    EXPECT_EQ(outcome.oldest_pass, looked_at >= sets ? 0 : sets - looked_at + 1);
    EXPECT_EQ(outcome.sealer, "example.org");
  }
}

// What a sender may have us check does not grow with the chain.
TEST_F(ArcVerifierTest, ChainsThatAreTooLongFailWithoutASignatureChecked) {
  Sealed message = chain(mailauth::arc::kSetsChecked + 1);
  for (std::uint32_t sets = mailauth::arc::kSetsChecked + 1; sets <= 51; ++sets) {
    if (sets % 17 == 0 || sets > 49) {  // over 50 it is no chain
      crypto::Sha256Batch hashes;
      mailauth::arc::Verifier verifier({}, hashes);
      const Outcome outcome = verify_arc(verifier, hashes, message.text(), signer.zone());
      EXPECT_EQ(outcome.result, Result::kFail) << sets;
      EXPECT_TRUE(verifier.questions().empty());
      EXPECT_EQ(outcome.sets, sets > 50 ? 0 : sets);
    }
    seal(message, signer);
  }
}

TEST_F(ArcVerifierTest, Ed25519SignaturesAreFew) {
  SigningDomain ed25519;
  Sealed message;
  for (std::uint32_t sets = 1; sets <= 12; ++sets) {
    seal(message, ed25519);
    const Outcome outcome = verify_arc(message.text(), ed25519.zone());
    // The newest message signature and all seals.
    using mailauth::dkim::ProofBudget;
    const bool few = sets + 1 <= ProofBudget::kUnits / ProofBudget::kEd25519Units;
    EXPECT_EQ(outcome.result, few ? Result::kPass : Result::kFail) << sets << outcome.reason;
  }
}

// RFC 8617 4.1.2, RFC 6376 3.5.
TEST_F(ArcVerifierTest, MessageSignaturesExpireAndMayNotNameSeals) {
  const auto result = [&](const How& newest) {
    Sealed message = chain(2);
    seal(message, signer, newest);
    return check(message);
  };
  EXPECT_EQ(result({.message_tags = "x=1700000000; "}).result, Result::kPass);
  EXPECT_EQ(result({.message_tags = "x=1699999999; "}).result, Result::kFail);
  EXPECT_EQ(result({.message_tags = "l=6; "}).result, Result::kPass) << "the whole body";
  EXPECT_EQ(result({.message_tags = "l=5; "}).result, Result::kFail);
  EXPECT_EQ(result({.message_tags = "l=7; "}).result, Result::kFail);
  EXPECT_EQ(result({.message_tags = "l=0; "}).result, Result::kFail);
  // A name for which there is no field signs nothing, so only the name can make it fail.
  Sealed message;
  seal(message, signer, {.signed_fields = "from:subject"});
  std::string& field = message.sets[0].message_signature;
  field.replace(field.find("h=from:subject"), 14, "h=from:subject:ARC-Seal");
  const Outcome outcome = check(message);
  EXPECT_EQ(outcome.result, Result::kFail);
  EXPECT_NE(outcome.reason.find("h= names ARC-Seal"), std::string::npos) << outcome.reason;
}

// An older one that has expired says nothing against the chain.
TEST_F(ArcVerifierTest, AnOlderSignatureThatHasExpiredIsNotVerified) {
  Sealed message;
  seal(message, signer, {.message_tags = "x=1600000000; "});
  seal(message, signer);
  const Outcome outcome = check(message);
  EXPECT_EQ(outcome.result, Result::kPass) << outcome.reason;
  EXPECT_EQ(outcome.oldest_pass, 2U);
}

TEST_F(ArcVerifierTest, NoChainAsksNothing) {
  crypto::Sha256Batch hashes;
  mailauth::arc::Verifier verifier({}, hashes);
  const Outcome outcome = verify_arc(verifier, hashes, Sealed().text(), Zone());
  EXPECT_EQ(outcome.result, Result::kNone);
  EXPECT_EQ(outcome.sets, 0U);
  EXPECT_TRUE(verifier.questions().empty());
  EXPECT_FALSE(verifier.wants_body());
}

TEST_F(ArcVerifierTest, OneKeyIsAskedForOnce) {
  crypto::Sha256Batch hashes;
  mailauth::arc::Verifier verifier({}, hashes);
  EXPECT_EQ(verify_arc(verifier, hashes, chain(10).text(), signer.zone()).result, Result::kPass);
  EXPECT_EQ(verifier.questions().size(), 1U);
}

TEST_F(ArcVerifierTest, AChangedMessageFails) {
  for (std::string Sealed::*part : {&Sealed::from, &Sealed::subject, &Sealed::body}) {
    Sealed message = chain(2);
    (message.*part).insert((message.*part).size() - 3, "x");
    const Outcome outcome = check(message);
    EXPECT_EQ(outcome.result, Result::kFail);
    EXPECT_NE(outcome.reason.find("newest ARC-Message-Signature"), std::string::npos);
    EXPECT_EQ(outcome.sets, 2U);
  }
}

TEST_F(ArcVerifierTest, OldestPassIsWhereTheMessageWasLastChanged) {
  Sealed message = chain(2);
  message.subject = "subject:[list] hello\r\n";
  seal(message, signer);
  seal(message, signer);
  Outcome outcome = check(message);
  EXPECT_EQ(outcome.result, Result::kPass) << outcome.reason;
  EXPECT_EQ(outcome.oldest_pass, 3U);
  message.body += "footer\r\n";
  seal(message, signer);
  outcome = check(message);
  EXPECT_EQ(outcome.result, Result::kPass);
  EXPECT_EQ(outcome.oldest_pass, 5U);
}

TEST_F(ArcVerifierTest, EveryFieldOfEverySetCounts) {
  for (std::size_t set = 0; set < 3; ++set) {
    for (std::string Set::*field : {&Set::results, &Set::message_signature, &Set::seal}) {
      Sealed missing = chain(3);
      const std::string text = missing.sets[set].*field;
      (missing.sets[set].*field).clear();
      EXPECT_EQ(check(missing).result, Result::kFail);
      Sealed twice = chain(3);
      twice.sets[set].*field += twice.sets[set].*field;
      EXPECT_EQ(check(twice).result, Result::kFail);
      Sealed changed = chain(3);
      std::string& value = changed.sets[set].*field;
      value.insert(value.find("; ") + 2, "x=y; ");
      EXPECT_EQ(check(changed).result, Result::kFail) << value;
    }
  }
}

TEST_F(ArcVerifierTest, TheOrderOfTheFieldsDoesNotMatter) {
  Sealed message = chain(3);
  std::string text = message.from;
  for (const Set& set : message.sets) text += set.results + set.seal + set.message_signature;
  text += message.subject + "\r\n" + message.body;
  EXPECT_EQ(verify_arc(text, signer.zone()).result, Result::kPass);
}

TEST_F(ArcVerifierTest, AGapOrAForeignInstanceFails) {
  Sealed message = chain(3);
  message.sets.erase(message.sets.begin() + 1);
  EXPECT_EQ(check(message).result, Result::kFail);
  message = chain(3);
  message.sets.erase(message.sets.begin());
  EXPECT_EQ(check(message).result, Result::kFail);
  for (const std::string_view instance :
       {"0", "51", "99", "100", "-1", "+1", "1.", "", "x", "1 1"}) {
    EXPECT_FALSE(mailauth::arc::parse_instance(instance)) << instance;
    message = chain(1);
    std::string& value = message.sets[0].results;
    value.replace(value.find("i=1"), 3, "i=" + std::string(instance));
    EXPECT_EQ(check(message).result, Result::kFail) << instance;
  }
  using mailauth::arc::instance_of_results;
  EXPECT_EQ(instance_of_results(" (c) I (d) = (e) 7 (f) ; x"), 7U);
  EXPECT_EQ(instance_of_results("i=07; x"), 7U);
  for (const std::string_view value :
       {"", "i", "i=", "i=1", "i=1 x;", "x; i=1;", "i=1(;", "\"i\"=1;"}) {
    EXPECT_FALSE(instance_of_results(value)) << value;
  }
}

TEST_F(ArcVerifierTest, StatusesMustFollow) {
  struct Row {
    std::string first;
    std::string second;
    Result result;
  };
  for (const Row& row : {Row{"none", "pass", Result::kPass}, Row{"NONE", "Pass", Result::kPass},
                         Row{"pass", "pass", Result::kFail}, Row{"none", "none", Result::kFail},
                         Row{"none", "fail", Result::kFail}, Row{"fail", "pass", Result::kFail},
                         Row{"none", "x", Result::kFail}}) {
    Sealed message;
    seal(message, signer, {.cv = row.first});
    seal(message, signer, {.cv = row.second});
    EXPECT_EQ(check(message).result, row.result) << row.first << " " << row.second;
  }
}

TEST_F(ArcVerifierTest, TagsThatMakeAProofWorthless) {
  for (const How& how : {How{.seal_tags = "h=from; "}, How{.message_tags = "l=1; "},
                         How{.message_tags = "t=x; "}, How{.seal_tags = "t=; "},
                         How{.signed_fields = "subject"}, How{.seal_tags = "d=example.org; "}}) {
    Sealed message;
    seal(message, signer, how);
    const Outcome outcome = check(message);
    EXPECT_EQ(outcome.result, Result::kFail) << how.seal_tags << how.message_tags;
    EXPECT_FALSE(outcome.reason.empty());
  }
  Sealed message;
  seal(message, signer, {.message_tags = "unknown=1; ", .seal_tags = "l=x; zz=2; "});
  EXPECT_EQ(check(message).result, Result::kPass);
}

TEST_F(ArcVerifierTest, WithoutAKeyItFails) {
  const Sealed message = chain(2);
  EXPECT_EQ(verify_arc(message.text(), Zone()).reason,
            "the newest ARC-Message-Signature does not hold: no key for signature");
  Zone broken;
  broken.at(signer.record_name()).fault = Fault::kServerFailure;
  EXPECT_EQ(verify_arc(message.text(), broken).result, Result::kFail);
  SigningDomain stranger;
  EXPECT_EQ(verify_arc(message.text(), stranger.zone()).result, Result::kFail);

  crypto::Sha256Batch hashes;
  mailauth::arc::Verifier verifier({}, hashes);
  mail::HeaderIndex index(1 << 17, 1000);
  const std::string text = message.text();
  index.feed(text);
  verifier.begin(text, index.fields(), 1'700'000'000);
  EXPECT_FALSE(verifier.step());
  verifier.give_up();
  EXPECT_TRUE(verifier.step());
  EXPECT_FALSE(verifier.wants_body());
  std::vector<crypto::RsaCheck*> checks;
  hashes.flush();
  verifier.collect(checks);
  EXPECT_TRUE(checks.empty());
  verifier.conclude();
  EXPECT_EQ(verifier.outcome().result, Result::kFail);
  EXPECT_NE(verifier.outcome().reason.find("in time"), std::string::npos);
}

TEST_F(ArcVerifierTest, AChainMayNotAskForAnyNumberOfKeys) {
  Zone zone;
  Sealed message;
  std::vector<std::unique_ptr<SigningDomain>> signers;
  for (std::size_t i = 1; i <= mailauth::arc::kSetsChecked; ++i) {
    signers.push_back(std::make_unique<SigningDomain>(crypto::KeyType::kRsa, "example.org",
                                                      "s" + std::to_string(i)));
    signers.back()->publish(zone);
    seal(message, *signers.back());
    crypto::Sha256Batch hashes;
    mailauth::arc::Verifier verifier({}, hashes);
    const Outcome outcome = verify_arc(verifier, hashes, message.text(), zone);
    EXPECT_LE(verifier.questions().size(), mailauth::arc::kKeyNamesMax);
    EXPECT_EQ(outcome.result, Result::kPass) << i << outcome.reason;
  }
}

TEST_F(ArcVerifierTest, OneVerifierForManyMessages) {
  crypto::Sha256Batch hashes;
  mailauth::arc::Verifier verifier({}, hashes);
  const Zone zone = signer.zone();
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(verify_arc(verifier, hashes, chain(3).text(), zone).result, Result::kPass);
    EXPECT_EQ(verify_arc(verifier, hashes, Sealed().text(), zone).result, Result::kNone);
    Sealed broken = chain(2);
    broken.sets[0].seal.clear();
    EXPECT_EQ(verify_arc(verifier, hashes, broken.text(), zone).result, Result::kFail);
    // One that goes away in the middle of its body.
    {
      const std::string text = chain(2).text();
      mail::HeaderIndex index(1 << 17, 1000);
      index.feed(text);
      verifier.begin(text, index.fields(), 1'700'000'000);
      verifier.body("te");
      verifier.abandon();
    }
    hashes.flush();
  }
}

}  // namespace
}  // namespace mxring::test
