// The DMARC corpora of others, read in place. Cases in which RFC 9989 says otherwise are named in
// dmarc_exceptions.txt, each with the section; they are run too, and must differ.
#include <gtest/gtest.h>
#include <yaml-cpp/yaml.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "mailauth/authres/verdict.h"
#include "mailauth/dmarc/author.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/dmarc/report_destination.h"
#include "tests/dns/zone.h"

namespace mxring::mailauth::dmarc {
namespace {

using test::Zone;

std::string author_of(const std::string& value) {
  AuthorScratch scratch;
  const auto domain = parse_author_domain(value, scratch);
  return domain ? std::string(*domain) : std::string();
}

std::vector<std::string> strings_of(const YAML::Node& node) {
  std::vector<std::string> out;
  if (node && node.IsScalar()) out.push_back(node.as<std::string>());
  if (node && node.IsSequence()) {
    for (const YAML::Node& entry : node) out.push_back(entry.as<std::string>());
  }
  return out;
}

Zone zone_of(const YAML::Node& node) {
  Zone zone;
  for (const auto& name : node) {
    test::Node& made = zone.at(name.first.as<std::string>());
    for (const auto& kind : name.second) {
      for (const YAML::Node& value : kind.second) {
        if (kind.first.as<std::string>() == "TXT") made.texts.push_back({value.as<std::string>()});
        if (kind.first.as<std::string>() == "A") {
          made.addresses.push_back(*base::IpAddress::parse(value.as<std::string>()));
        }
      }
    }
  }
  return zone;
}

Outcome evaluate(const Zone& zone, const std::string& from, const std::vector<std::string>& spf,
                 const std::vector<std::string>& dkim) {
  Evaluator evaluator;
  evaluator.begin(from);
  std::vector<Authenticated> passes;
  for (const auto& domain : spf) passes.push_back({Authenticated::Method::kSpf, domain});
  for (const auto& domain : dkim) passes.push_back({Authenticated::Method::kDkim, domain});
  evaluator.authenticated(passes);
  std::size_t questions = 0;
  while (!evaluator.step()) {
    for (const dns::Question& question : evaluator.questions()) {
      evaluator.supply(question, zone.answer(question));
      ++questions;
    }
  }
  // The From domain's walk, its existence, and a walk for each pass.
  EXPECT_LE(questions, 8 * (1 + passes.size()) + 1);
  return evaluator.outcome();
}

class DmarcSuiteTest : public testing::Test {
 protected:
  bool load(const std::string& corpus) {
    const std::string path = std::string(MXRING_CORPORA) + "/" + corpus + "/cases.json";
    if (!std::filesystem::exists(path)) return false;
    document_ = YAML::LoadFile(path);
    std::ifstream file(MXRING_TEST_DATA "/dmarc_exceptions.txt");
    for (std::string line; std::getline(file, line);) {
      if (line.empty() || line[0] == '#') continue;
      const std::size_t space = line.find(' ');
      exceptions_[line.substr(0, space)] = line.substr(space + 1);
    }
    EXPECT_FALSE(exceptions_.empty());
    return true;
  }

  // An exception must be one: the same answer as the corpus would be a stale line.
  void grade(const std::string& id, bool agrees, const std::string& shown) {
    ++graded_;
    const auto exception = exceptions_.find(id);
    if (exception == exceptions_.end()) {
      EXPECT_TRUE(agrees) << id << ": " << shown;
    } else {
      EXPECT_FALSE(agrees) << id << " is listed as an exception, but agrees: " << shown;
      EXPECT_NE(exception->second.find("RFC "), std::string::npos) << id;
    }
  }

  YAML::Node document_;
  std::map<std::string, std::string> exceptions_;
  int graded_ = 0;
};

// What a case of mail-auth's and of the standard's appendix says about the outcome.
void expect_outcome(const YAML::Node& test, const Outcome& outcome) {
  const auto id = test["id"].as<std::string>();
  for (const auto& entry : test["expect"]) {
    const auto key = entry.first.as<std::string>();
    const auto value = entry.second.as<std::string>();
    if (key == "result") {
      EXPECT_EQ(word(outcome.result), value) << id;
    } else if (key == "policy") {
      EXPECT_EQ(word(outcome.policy), value) << id;
    } else if (key == "policy_domain") {
      EXPECT_EQ(outcome.record_domain, value) << id;
    } else if (key == "spf_aligned" || key == "dkim_aligned") {
      const std::string& aligned =
          key == "spf_aligned" ? outcome.aligned_spf : outcome.aligned_dkim;
      EXPECT_EQ(!aligned.empty(), value == "true") << id << " " << key;
    } else if (key == "spf" || key == "dkim") {
      const std::string& aligned = key == "spf" ? outcome.aligned_spf : outcome.aligned_dkim;
      EXPECT_EQ(!aligned.empty(), value == "pass") << id << " " << key;
    } else {
      ADD_FAILURE() << id << ": nothing is known about " << key;
    }
  }
}

Outcome evaluate(const YAML::Node& test) {
  return evaluate(zone_of(test["zone"]), author_of(test["header_from"].as<std::string>()),
                  strings_of(test["spf_pass_mailfrom_domains"]),
                  strings_of(test["dkim_pass_domains"]));
}

TEST_F(DmarcSuiteTest, MailAuth) {
  if (!load("dmarc-mail-auth")) GTEST_SKIP() << "no dmarc-mail-auth in " << MXRING_CORPORA;
  for (const YAML::Node& test : document_["evaluation"]) {
    expect_outcome(test, evaluate(test));
    ++graded_;
  }
  const YAML::Node& external = document_["external_report_destination"];
  const Zone zone = zone_of(external["zone"]);
  const auto domain = external["domain"].as<std::string>();
  std::vector<std::string> allowed;
  for (const std::string& uri : strings_of(external["uris"])) {
    const auto address = report_address(uri);
    ASSERT_TRUE(address) << uri;
    const auto question = destination_question(domain, address->host);
    ASSERT_TRUE(question);
    if (address->host == domain || takes_reports(*zone.answer(*question))) allowed.push_back(uri);
  }
  EXPECT_EQ(allowed, strings_of(external["allowed"]));
  EXPECT_EQ(++graded_, 13);
}

// The appendix's tables: aligned in which modes.
void expect_alignment(const YAML::Node& test) {
  const auto id = test["id"].as<std::string>();
  const auto expected = test["expect"].as<std::string>();
  for (const std::string mode : {"s", "r"}) {
    Zone zone;
    const std::string record = "v=DMARC1; p=none; aspf=" + mode + "; adkim=" + mode;
    zone.at("_dmarc.example.com").texts.push_back({record});
    const Outcome outcome = evaluate(zone, test["header_from"].as<std::string>(),
                                     strings_of(test["spf"]), strings_of(test["dkim"]));
    const bool wanted = expected == "aligned, strict and relaxed" ||
                        (expected == "aligned in relaxed mode only" && mode == "r");
    EXPECT_EQ(outcome.result, wanted ? Result::kPass : Result::kFail) << id << " " << mode;
  }
}

TEST_F(DmarcSuiteTest, ExamplesOfTheStandard) {
  if (!load("dmarc-rfc9989-examples")) GTEST_SKIP() << "no dmarc-rfc9989-examples";
  for (const YAML::Node& test : document_) {
    ++graded_;
    const auto id = test["id"].as<std::string>();
    if (id.find("-align-") != std::string::npos) {
      expect_alignment(test);
    } else if (id == "mail-receiver-example") {
      const Outcome outcome = evaluate(zone_of(test["zone"]), "example.com",
                                       strings_of(test["spf"]), strings_of(test["dkim"]));
      EXPECT_EQ(outcome.result, Result::kPass);
      EXPECT_EQ(outcome.aligned_spf, "mail.example.com");
      EXPECT_EQ(outcome.aligned_dkim, "example.com");
    } else if (id == "report-destination") {
      const auto address = report_address(test["ruf"].as<std::string>());
      ASSERT_TRUE(address);
      const auto question = destination_question(test["domain"].as<std::string>(), address->host);
      EXPECT_TRUE(takes_reports(*zone_of(test["zone"]).answer(*question)));
    } else if (test["record"]) {
      const auto record = parse(test["record"].as<std::string>());
      ASSERT_TRUE(record) << id;
      EXPECT_EQ(word(record->policy), test["expect"]["p"].as<std::string>());
      EXPECT_EQ(record->testing, test["expect"]["t"].as<std::string>() == "y");
      if (test["expect"]["rua_count"]) {
        EXPECT_EQ(record->aggregate_uris.size(), test["expect"]["rua_count"].as<std::size_t>());
      }
    } else {
      ASSERT_TRUE(test["expect"].IsMap()) << id;
      expect_outcome(test, evaluate(test));
    }
  }
  EXPECT_EQ(graded_, 13);
}

TEST_F(DmarcSuiteTest, OpenDmarc) {
  if (!load("dmarc-opendmarc")) GTEST_SKIP() << "no dmarc-opendmarc in " << MXRING_CORPORA;
  int number = 0;
  for (const YAML::Node& test : document_["alignment"]) {
    const auto from = test["a"].as<std::string>();
    const auto domain = test["b"].as<std::string>();
    const std::string mode = test["mode"].as<std::string>().substr(0, 1);
    // The organizational domains of that suite's public suffix list.
    Zone zone;
    for (const std::string organization :
         {"bcx.com", "oooo.com", "foo.com", "mac.com", "b.com", "b.de", "edu.ar"}) {
      zone.at("_dmarc." + organization).texts.push_back({"v=DMARC1; p=reject; aspf=" + mode});
    }
    const Outcome outcome = evaluate(zone, from, {domain}, {});
    grade("opendmarc/alignment/" + std::to_string(++number),
          (outcome.result == Result::kPass) == test["aligned"].as<bool>(),
          from + " " + domain + " " + std::string(word(outcome.result)));
  }
  number = 0;
  for (const YAML::Node& test : document_["from_domain"]) {
    // Some have the field's name before them.
    auto value = test["header"].as<std::string>();
    if (value.starts_with("From: ")) value = value.substr(6);
    const std::string domain = author_of(value);
    grade("opendmarc/from_domain/" + std::to_string(++number),
          domain == test["domain"].as<std::string>(), value + " -> " + domain);
  }
  number = 0;
  for (const YAML::Node& test : document_["record_parse"]) {
    const auto text = test["record"].as<std::string>();
    const auto outcome = test["outcome"].as<std::string>();
    const auto record = parse(text);
    const bool none = outcome == "EMPTY" || outcome == "BAD_VERSION";
    const bool usable = record && record->usable;
    grade("opendmarc/record_parse/" + std::to_string(++number),
          none ? !record.has_value() : usable == (outcome == "OKAY"), text);
  }
  EXPECT_EQ(graded_, 42);
}

// The four cases that are whole messages, as far as they concern DMARC.
TEST_F(DmarcSuiteTest, OpenDmarcMessages) {
  if (!load("dmarc-opendmarc")) GTEST_SKIP() << "no dmarc-opendmarc in " << MXRING_CORPORA;
  for (const YAML::Node& test : document_["milter"]) {
    ++graded_;
    const auto id = test["id"].as<std::string>();
    const std::string author = author_of(test["header_from"].as<std::string>());
    if (id == "multi-from-malformed") {
      // Three authors in broken syntax, of one domain.
      EXPECT_EQ(author, "blackops.org");
      continue;
    }
    const std::string domain = author;
    Zone zone;
    zone.at("_dmarc." + domain).texts.push_back({"v=DMARC1; p=reject"});
    zone.at(domain).texts.push_back({"v=spf1 -all"});
    spf::Evaluator spf_evaluator;
    spf_evaluator.begin({.client = *base::IpAddress::parse(test["client_ip"].as<std::string>()),
                         .mail_from = test["mail_from"].as<std::string>(),
                         .helo = "localhost"});
    while (!spf_evaluator.step()) {
      for (const dns::Question& question : spf_evaluator.questions()) {
        spf_evaluator.supply(question, zone.answer(question));
      }
    }
    std::string field;
    authres::Builder builder(field);
    builder.begin("mx.example.org");
    authres::add_spf(builder, spf_evaluator.outcome(), test["mail_from"].as<std::string>());
    authres::add_dmarc(builder, evaluate(zone, domain, {}, {}));
    builder.end();
    EXPECT_NE(field.find("spf=fail smtp.mailfrom=user@" + domain), std::string::npos) << field;
    EXPECT_NE(field.find("dmarc=fail header.from=" + domain), std::string::npos) << field;
  }
  EXPECT_EQ(graded_, 4);
}

TEST(DmarcReportDestinationTest, Addresses) {
  const auto address = report_address("MAILTO:a%2Cb@Example.ORG?subject=x");
  ASSERT_FALSE(address);  // a list
  const auto plain = report_address(
      "mailto:dmarc%2Breports@B\xC3\xBC"
      "cher.example?subject=x");
  ASSERT_TRUE(plain);
  EXPECT_EQ(plain->host, "xn--bcher-kva.example");
  for (const std::string_view uri :
       {"https://example.org/", "mailto:", "mailto:x", "mailto:a@b,c@d", "mailto:a%0D%0ARCPT@b.c",
        "mailto:a@b%zz", "mailto:a@b%2", "mailto:<a@b.c>", "mailto:a(x)@b.c",
        "mailto:a@[192.0.2.1]", "mailto:a%20b@c.d"}) {
    EXPECT_FALSE(report_address(uri)) << uri;
  }
  EXPECT_FALSE(destination_question(std::string(200, 'a'), "example.org"));
  EXPECT_FALSE(takes_reports(*dns::make_failure(dns::Status::kTimeout)));
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
