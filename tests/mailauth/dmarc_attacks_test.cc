// The composition attacks of the literature (Chen, Paxson, Jiang: "Composition Kills", 2020; Shen
// et al.: "Weak Links in Authentication Chains", 2021), each as a transcript in attacks/: an
// envelope, a zone, a message, and what must come of it. In all of them legit.example is the
// victim, with p=reject, and attacker.example belongs to the attacker, with SPF for the client's
// address.
//
//   # what the attack is
//   client 198.51.100.7             optional, this is the default
//   helo mail.attacker.example      optional
//   mail-from x@attacker.example    \xNN and \\ understood here and in the message
//   sign attacker.example sel       the message gets a valid signature; repeatable
//   zone  / message / expect        a line each that begins a part
//
// Expected: author (a domain, or why there is none), spf, dkim (a word for each signature), dmarc,
// disposition (accept, quarantine, reject or refused), ours (how many Authentication-Results fields
// of the message claim to be ours).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "mailauth/authres/forged.h"
#include "mailauth/authres/parser.h"
#include "mailauth/disposition.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/evaluation.h"
#include "mailauth/results_field.h"
#include "tests/dns/zone.h"
#include "tests/mailauth/dkim_signing.h"

namespace mxring::test {
namespace {

using mailauth::Part;

constexpr std::string_view kHost = "mx.receiver.example";
constexpr const char* kCommonZone = R"(
legit.example TXT "v=spf1 ip4:192.0.2.1 -all"
legit.example MX 10 mail.legit.example
_dmarc.legit.example TXT "v=DMARC1; p=reject"
attacker.example TXT "v=spf1 ip4:198.51.100.0/24 -all"
mail.attacker.example TXT "v=spf1 ip4:198.51.100.0/24 -all"
)";

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
    } else if (text.at(i + 1) == 'x') {
      out += static_cast<char>(std::stoi(text.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      out += text.at(++i);
    }
  }
  return out;
}

struct Attack {
  std::string client = "198.51.100.7";
  std::string helo = "mail.attacker.example";
  std::string mail_from = "x@attacker.example";
  std::vector<std::pair<std::string, std::string>> signers;
  std::string zone = kCommonZone;
  std::string message;
  std::map<std::string, std::string> expected;
};

Attack load(const std::string& path) {
  Attack attack;
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  std::string part = "envelope";
  const std::set<std::string> parts{"zone", "message", "expect"};
  for (std::string line; std::getline(file, line);) {
    if (parts.contains(line)) {
      part = line;
      continue;
    }
    if (part == "message") {
      attack.message += unescaped(line) + "\r\n";
      continue;
    }
    if (line.empty() || line[0] == '#') continue;
    if (part == "zone") {
      attack.zone += line + '\n';
      continue;
    }
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string key = line.substr(0, space);
    const std::string value = space == line.size() ? "" : unescaped(line.substr(space + 1));
    if (part == "expect") {
      attack.expected[key] = value;
    } else if (key == "client") {
      attack.client = value;
    } else if (key == "helo") {
      attack.helo = value;
    } else if (key == "mail-from") {
      attack.mail_from = value;
    } else if (key == "sign") {
      attack.signers.emplace_back(value.substr(0, value.find(' ')),
                                  value.substr(value.find(' ') + 1));
    } else {
      ADD_FAILURE() << path << ": " << line;
    }
  }
  return attack;
}

// Runs the evaluation to its end and says what came of it, by the keys of "expect".
class AttackRun {
 public:
  explicit AttackRun(Attack& attack) : zone_(Zone::parse(attack.zone)) {
    for (const auto& [domain, selector] : attack.signers) {
      SigningDomain signer(crypto::KeyType::kEd25519, domain, selector);
      signer.publish(zone_);
      attack.message = signer.sign(attack.message);
    }
    const base::Limits limits;
    mail::HeaderIndex index(limits.header_bytes, limits.header_fields);
    index.feed(attack.message);
    index.finish();
    const std::string_view text = attack.message;
    const std::string_view header = text.substr(0, index.header_bytes());
    find_author(header, index.fields());
    count_ours(header, index.fields());
    evaluate(attack, header, index.fields(), text.substr(index.body_begin()));
  }

  const std::map<std::string, std::string>& found() const { return found_; }
  const std::string& field() const { return field_; }
  const mailauth::Evaluation& evaluation() const { return evaluation_; }

 private:
  void find_author(std::string_view header, std::span<const mail::Field> fields) {
    mailauth::dmarc::AuthorScratch scratch;
    const auto author = mailauth::dmarc::find_author_domain(header, fields, scratch);
    found_["author"] =
        author ? std::string(*author) : std::string(mailauth::dmarc::describe(author.error()));
  }

  void count_ours(std::string_view header, std::span<const mail::Field> fields) {
    const auto ours = std::ranges::count_if(fields, [&](const mail::Field& field) {
      return field.name == mail::FieldName::kAuthenticationResults &&
             mailauth::authres::claims_to_be_from(
                 header.substr(field.value, field.end - field.value), kHost);
    });
    found_["ours"] = std::to_string(ours);
  }

  void answer_all() {
    for (const Part part : mailauth::kParts) {
      while (!evaluation_.step(part)) {
        const auto asked = evaluation_.questions(part);
        const std::vector<dns::Question> questions(asked.begin(), asked.end());
        for (const dns::Question& question : questions) {
          evaluation_.supply(part, question, zone_.answer(question));
        }
      }
    }
  }

  void evaluate(const Attack& attack, std::string_view header, std::span<const mail::Field> fields,
                std::string_view body) {
    evaluation_.begin({.client = *base::IpAddress::parse(attack.client),
                       .mail_from = attack.mail_from,
                       .helo = attack.helo});
    answer_all();
    evaluation_.header(header, fields, 1'600'000'000);
    if (evaluation_.wants_body()) {
      evaluation_.body(body);
      evaluation_.end_of_body();
    }
    answer_all();
    hashes_.flush();
    std::vector<crypto::RsaCheck*> checks;
    evaluation_.collect(checks);
    crypto::RsaVerifier().verify(checks);
    evaluation_.conclude();
    answer_all();
    EXPECT_TRUE(evaluation_.done());
    found_["spf"] = word(evaluation_.spf()->result);
    std::string& dkim = found_["dkim"];
    for (const auto& signature : evaluation_.dkim()) {
      if (!dkim.empty()) dkim += ' ';
      dkim += word(signature.result);
    }
    if (dkim.empty()) dkim = "none";
    const mailauth::dmarc::Outcome* dmarc = evaluation_.dmarc();
    // Without an author domain the server has refused it before.
    const bool refused = dmarc->from_domain.empty();
    EXPECT_TRUE(!refused || dmarc->result == mailauth::Result::kPermerror);
    found_["dmarc"] = refused ? "" : word(dmarc->result);
    found_["disposition"] = refused ? "refused" : std::string(word(mailauth::decide(dmarc, {})));
    mailauth::authres::Builder builder(field_);
    mailauth::write_results_field(builder, {.hostname = kHost,
                                            .mail_from = attack.mail_from,
                                            .client = *base::IpAddress::parse(attack.client),
                                            .client_name = attack.helo,
                                            .evaluation = evaluation_});
  }

  Zone zone_;
  crypto::Sha256Batch hashes_;
  mailauth::Evaluation evaluation_{{}, {}, hashes_};
  std::map<std::string, std::string> found_;
  std::string field_;
};

// Whatever the attack, our field says what we found, once, and nothing else.
void check_field(const AttackRun& run, const std::string& name) {
  const std::string& field = run.field();
  ASSERT_TRUE(field.starts_with("Authentication-Results: ")) << name;
  for (std::size_t i = 0; i + 2 < field.size(); ++i) {
    ASSERT_TRUE(field[i] != '\n' || field[i + 1] == '\t') << name << field;
    ASSERT_TRUE(field[i] != '\0' && (field[i] != '\r' || field[i + 1] == '\n')) << name << field;
  }
  const auto read = mailauth::authres::parse(std::string_view(field).substr(23));
  ASSERT_TRUE(read) << name << field;
  EXPECT_EQ(read->authserv_id, kHost);
  std::size_t dkim = 0;
  std::size_t dmarc = 0;
  for (const auto& result : read->results) {
    EXPECT_LE(result.properties.size(), 6U) << name << field;
    if (result.method == "dmarc") {
      ++dmarc;
      const std::string& found = run.found().at("dmarc");
      EXPECT_EQ(result.result, found.empty() ? "permerror" : found) << name;
    }
    if (result.method != "dkim") continue;
    ++dkim;
    // Nobody signed for the victim.
    const std::string* domain = result.find("header", "d");
    const bool victim = domain != nullptr && *domain == "legit.example";
    EXPECT_FALSE(victim && result.result == "pass") << name;
  }
  EXPECT_EQ(dmarc, 1U) << name << field;
  EXPECT_EQ(dkim, std::max<std::size_t>(run.evaluation().dkim().size(), 1)) << name << field;
}

TEST(DmarcAttacksTest, EveryTranscript) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(MXRING_TEST_DATA "/attacks")) {
    paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  EXPECT_GE(paths.size(), 30U);
  for (const std::string& path : paths) {
    const std::string name = std::filesystem::path(path).stem();
    Attack attack = load(path);
    ASSERT_TRUE(attack.expected.contains("author") && attack.expected.contains("disposition"))
        << name;
    const AttackRun run(attack);
    for (const auto& [key, value] : attack.expected) {
      EXPECT_EQ(run.found().at(key), value) << name << ": " << key << "\n" << run.field();
    }
    if (run.found().at("dmarc") == "pass") {
      EXPECT_NE(run.evaluation().dmarc()->from_domain, "legit.example") << name;
    }
    check_field(run, name);
  }
}

// MAIL FROM with an SPF record that never answers, and the message long after that.
TEST(DmarcAttacksTest, DawdlingBeforeTheMessageTakesNothingFromThePolicy) {
  const std::string text = "From: admin@legit.example\r\nSubject: urgent\r\n";
  mail::HeaderIndex index(1 << 17, 1000);
  index.feed(text);
  index.finish();
  crypto::Sha256Batch hashes;
  mailauth::Evaluation evaluation({}, {}, hashes);
  evaluation.begin({.client = base::IpAddress::v4({198, 51, 100, 7}),
                    .mail_from = "x@slow.attacker.example",
                    .helo = "mail.attacker.example"});
  EXPECT_FALSE(evaluation.step(Part::kSpf));
  evaluation.give_up();
  EXPECT_TRUE(evaluation.step(Part::kSpf));
  evaluation.header(text, index.fields(), 1'600'000'000);
  const Zone zone = Zone::parse(kCommonZone);
  while (!evaluation.step(Part::kDmarc)) {
    for (const dns::Question& question : evaluation.questions(Part::kDmarc)) {
      evaluation.supply(Part::kDmarc, question, zone.answer(question));
    }
  }
  evaluation.conclude();
  EXPECT_TRUE(evaluation.step(Part::kDmarc));
  EXPECT_EQ(evaluation.spf()->result, mailauth::Result::kTemperror);
  EXPECT_EQ(evaluation.dmarc()->result, mailauth::Result::kFail);
  EXPECT_EQ(mailauth::decide(evaluation.dmarc(), {}), mailauth::Disposition::kReject);
}

// A spoof whose signature claims to be the victim's, with a key that is not asked for because its
// client has spent its share of questions: put off. One that could not have vouched for it changes
// nothing, and neither does SPF of the sender's own domain.
TEST(DmarcAttacksTest, SpendingOnesShareOfQuestionsSoftensNoPolicy) {
  const Zone zone = Zone::parse(kCommonZone);
  auto busy = std::make_shared<dns::Answer>();
  busy->not_asked = true;
  const auto disposition = [&](std::string_view signer, std::string_view sender, Part unasked) {
    const std::string text =
        "DKIM-Signature: v=1; a=rsa-sha256; d=" + std::string(signer) +
        "; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA\r\n"
        "From: admin@legit.example\r\n";
    mail::HeaderIndex index(1 << 17, 1000);
    index.feed(text);
    index.finish();
    crypto::Sha256Batch hashes;
    mailauth::Evaluation evaluation({}, {}, hashes);
    const std::string mail_from = "x@" + std::string(sender);
    evaluation.begin({.client = base::IpAddress::v4({198, 51, 100, 7}),
                      .mail_from = mail_from,
                      .helo = "mail.attacker.example"});
    const auto answer = [&](Part part) {
      while (!evaluation.step(part)) {
        for (const dns::Question& question : evaluation.questions(part)) {
          evaluation.supply(part, question, part == unasked ? busy : zone.answer(question));
        }
      }
    };
    answer(Part::kSpf);
    evaluation.header(text, index.fields(), 1'600'000'000);
    evaluation.end_of_body();
    hashes.flush();
    for (const Part part : {Part::kDkim, Part::kArc, Part::kDmarc}) answer(part);
    std::vector<crypto::RsaCheck*> checks;
    evaluation.collect(checks);
    crypto::RsaVerifier().verify(checks);
    evaluation.conclude();
    answer(Part::kDmarc);
    return mailauth::decide(evaluation.dmarc(), {});
  };
  using mailauth::Disposition;
  constexpr std::string_view kVictim = "legit.example";
  constexpr std::string_view kOwn = "attacker.example";
  EXPECT_EQ(disposition(kVictim, kOwn, Part::kDkim), Disposition::kTempfail);
  EXPECT_EQ(disposition(kOwn, kVictim, Part::kSpf), Disposition::kTempfail);
  EXPECT_EQ(disposition(kOwn, kOwn, Part::kDmarc), Disposition::kTempfail);
  EXPECT_EQ(disposition(kOwn, kVictim, Part::kDkim), Disposition::kReject);
  EXPECT_EQ(disposition(kVictim, kOwn, Part::kSpf), Disposition::kReject);
}

}  // namespace
}  // namespace mxring::test
