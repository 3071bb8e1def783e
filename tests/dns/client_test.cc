// The client against a server that misbehaves in every way we know of.
#include "dns/client.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <deque>

#include "dns/blocking.h"
#include "tests/dns/test_dns_server.h"

namespace mxring::dns {
namespace {

using test::TestDnsServer;
using test::Zone;

constexpr const char* kZone = R"(
good.example A 192.0.2.1
good.example A 192.0.2.2
good.example AAAA 2001:db8::1
good.example TXT "v=spf1 " "mx -all"
good.example TXT "other"
good.example MX 20 b.example
good.example MX 10 a.example
1.2.0.192.in-addr.arpa PTR good.example
www.example CNAME good.example
chain0.example CNAME chain1.example
chain1.example CNAME chain2.example
chain2.example CNAME good.example
open0.example CNAME open1.example
open0.example ! one-alias
open1.example CNAME good.example
open1.example ! one-alias
circle0.example CNAME circle1.example
circle1.example CNAME circle0.example
hop0.example CNAME hop1.example
hop0.example ! one-alias
hop1.example CNAME hop0.example
hop1.example ! one-alias
self.example CNAME self.example
large.example TXT "0123456789"
silent.example ! silent
servfail.example A 192.0.2.1
servfail.example ! servfail
refused.example ! refused
slow.example A 192.0.2.7
slow.example ! slow 300
wrong-id.example A 192.0.2.3
wrong-id.example ! wrong-id
wrong-question.example A 192.0.2.4
wrong-question.example ! wrong-question
forged-case.example A 192.0.2.9
forged-case.example ! forged-case
forgeries.example A 192.0.2.4
forgeries.example ! only-forgeries
truncated.example A 192.0.2.5
truncated.example ! truncated
tcp-closes.example ! tcp-closes
tcp-dribbles.example ! tcp-dribbles
oversized.example A 192.0.2.6
oversized.example ! oversized
loop.example ! compression-loop
garbage.example ! garbage
reflected.example ! reflected
empty.example A 192.0.2.8
empty.example ! empty
)";

Question about(std::string_view name, Type type = Type::kA) {
  return {*Name::parse(name), type};
}

struct Health final : ResolverListener {
  std::vector<bool> told;
  std::vector<std::string> refusing;
  void on_resolver(bool answering) override { told.push_back(answering); }
  void on_refusing(const base::Endpoint& server, bool refuses) override {
    refusing.push_back(server.to_string() + (refuses ? " refuses" : " serves"));
  }
};

struct Counter final : Waiter {
  int answers = 0;
  void on_answer(const Question&, const AnswerPtr&) override { ++answers; }
};

class ClientTest : public testing::Test {
 protected:
  ClientTest() : server(Zone::parse(kZone)) {
    options.servers = {server.endpoint()};
    options.timeout_ns = 900 * base::kNsPerMs;
  }

  BlockingResolver& resolver() {
    if (!resolver_) {
      auto made = BlockingResolver::create(options, &health);
      EXPECT_TRUE(made) << made.error();
      resolver_ = std::move(*made);
    }
    return *resolver_;
  }
  AnswerPtr ask(std::string_view name, Type type = Type::kA) {
    return resolver().ask(about(name, type));
  }

  TestDnsServer server;
  ClientOptions options;
  Health health;

 private:
  std::unique_ptr<BlockingResolver> resolver_;
};

TEST_F(ClientTest, EveryTypeIsRead) {
  EXPECT_EQ(ask("GOOD.example")->addresses.size(), 2U);
  EXPECT_EQ(ask("good.example", Type::kAaaa)->addresses[0].to_string(), "2001:db8::1");
  EXPECT_EQ(ask("good.example", Type::kTxt)->texts,
            (std::vector<std::string>{"v=spf1 mx -all", "other"}));
  EXPECT_EQ(ask("good.example", Type::kMx)->exchangers[1].name.to_text(), "a.example");
  EXPECT_EQ(ask("1.2.0.192.in-addr.arpa", Type::kPtr)->names[0].to_text(), "good.example");
  EXPECT_EQ(ask("www.example", Type::kCname)->names[0].to_text(), "good.example");
  EXPECT_EQ(ask("good.example")->ttl_s, 300U);
}

TEST_F(ClientTest, StatusesAreKeptApart) {
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  EXPECT_EQ(ask("good.example", Type::kPtr)->status, Status::kNoData);
  EXPECT_EQ(ask("nowhere.example")->status, Status::kNoName);
  EXPECT_EQ(ask("servfail.example")->status, Status::kServerFailure);
  EXPECT_EQ(ask("refused.example")->status, Status::kServerFailure);
  EXPECT_EQ(ask("silent.example")->status, Status::kTimeout);
  EXPECT_TRUE(health.told.empty()) << "one silent name is not a silent resolver";
}

TEST_F(ClientTest, AliasesAreFollowed) {
  for (const char* name : {"www.example", "chain0.example", "open0.example"}) {
    const AnswerPtr answer = ask(name);
    EXPECT_EQ(answer->addresses.size(), 2U) << name;
    ASSERT_FALSE(answer->aliases.empty());
    EXPECT_EQ(answer->aliases.back().to_text(), "good.example") << name;
  }
  for (const char* name : {"circle0.example", "self.example", "hop0.example"}) {
    EXPECT_EQ(ask(name)->status, Status::kServerFailure) << name;
  }
  EXPECT_LT(server.questions(), 40U);
}

TEST_F(ClientTest, ForgeriesAreNotHeard) {
  EXPECT_EQ(ask("wrong-id.example")->addresses[0].to_string(), "192.0.2.3");
  EXPECT_EQ(ask("wrong-question.example")->addresses[0].to_string(), "192.0.2.4");
  EXPECT_EQ(ask("forgeries.example")->status, Status::kTimeout);
}

// The id is right, the name is right, the case of its letters is not.
TEST_F(ClientTest, AForgeryInAnotherCaseIsNotBelieved) {
  EXPECT_EQ(ask("forged-case.example")->addresses[0].to_string(), "192.0.2.9");
  EXPECT_EQ(server.tcp_questions(), 1U);
  EXPECT_EQ(ask("good.example")->addresses.size(), 2U);
  EXPECT_EQ(server.tcp_questions(), 1U) << "the server itself keeps the case";
}

TEST_F(ClientTest, AServerThatChangesTheCaseIsFoundOutOverTcp) {
  server.set_folding(true);
  EXPECT_EQ(ask("good.example")->addresses.size(), 2U);
  EXPECT_EQ(server.tcp_questions(), 1U);
  EXPECT_EQ(ask("www.example")->addresses.size(), 2U);
  EXPECT_EQ(ask("nowhere.example")->status, Status::kNoName);
  EXPECT_EQ(server.tcp_questions(), 1U);
  EXPECT_EQ(server.questions(), 4U);
}

TEST_F(ClientTest, AServerThatChangesTheCaseAndSpeaksNoTcp) {
  server.set_folding(true, false);
  EXPECT_EQ(ask("good.example")->addresses.size(), 2U);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ask("n" + std::to_string(i) + ".example")->status, Status::kNoName);
  }
  const std::size_t before = server.questions();
  EXPECT_EQ(ask("www.example")->addresses.size(), 2U);
  EXPECT_EQ(server.questions(), before + 1) << "it is known by now";
  EXPECT_TRUE(health.told.empty());
}

TEST_F(ClientTest, TruncatedRepliesAreAskedForOverTcp) {
  EXPECT_EQ(ask("truncated.example")->addresses[0].to_string(), "192.0.2.5");
  EXPECT_EQ(server.tcp_questions(), 1U);
}

TEST_F(ClientTest, LargeTextComesWholeOverTcp) {
  Zone zone = Zone::parse("large.example ! truncated\n");
  zone.at("large.example").texts = {{std::string(20'000, 'x')}};
  server.set_zone(zone);
  const AnswerPtr answer = ask("large.example", Type::kTxt);
  ASSERT_EQ(answer->status, Status::kAnswer);
  EXPECT_EQ(answer->texts[0].size(), 20'000U);
}

TEST_F(ClientTest, BrokenRepliesEndInTime) {
  for (const char* name : {"tcp-closes.example", "tcp-dribbles.example", "loop.example",
                           "garbage.example", "reflected.example", "empty.example"}) {
    const auto started = std::chrono::steady_clock::now();
    const AnswerPtr answer = ask(name);
    EXPECT_TRUE(answer->is_failure()) << name << " " << status_word(answer->status);
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(1300)) << name;
  }
  // Larger than we said we can take: asked for again over TCP, where it may be as large.
  EXPECT_EQ(ask("oversized.example")->addresses[0].to_string(), "192.0.2.6");
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
}

TEST_F(ClientTest, AnswersAndAbsencesAreAskedForOnce) {
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
    EXPECT_EQ(ask("nowhere.example")->status, Status::kNoName);
    EXPECT_EQ(ask("servfail.example")->status, Status::kServerFailure);
  }
  EXPECT_EQ(server.questions(), 3U);
}

TEST_F(ClientTest, AThousandAskersOneQuestion) {
  options.timeout_ns = 5 * base::kNsPerSecond;  // no retry while it is slow
  const std::vector<Question> questions(1000, about("slow.example"));
  const auto answers = resolver().ask_all(questions);
  for (const AnswerPtr& answer : answers) EXPECT_EQ(answer, answers.front());
  EXPECT_EQ(answers.front()->addresses[0].to_string(), "192.0.2.7");
  EXPECT_EQ(server.questions(), 1U);
  EXPECT_EQ(resolver().client().stats().shared, 999U);
}

TEST_F(ClientTest, ManyNamesAtOnce) {
  std::vector<Question> questions;
  for (int i = 0; i < 500; ++i) {
    questions.push_back(about("n" + std::to_string(i) + ".example"));
  }
  questions.push_back(about("good.example"));
  options.timeout_ns = 5 * base::kNsPerSecond;
  const auto answers = resolver().ask_all(questions);
  for (std::size_t i = 0; i < 500; ++i) EXPECT_EQ(answers[i]->status, Status::kNoName) << i;
  EXPECT_EQ(answers.back()->status, Status::kAnswer);
}

TEST_F(ClientTest, MoreThanMayBeOutstandingFailsAtOnce) {
  options.outstanding_max = 3;
  std::vector<Question> questions;
  for (int i = 0; i < 5; ++i) questions.push_back(about("n" + std::to_string(i) + ".example"));
  const auto answers = resolver().ask_all(questions);
  EXPECT_EQ(answers[2]->status, Status::kNoName);
  EXPECT_EQ(answers[3]->status, Status::kServerFailure);
  EXPECT_EQ(resolver().client().stats().refused, 2U);
}

// Asks on behalf of a client, and remembers how it went.
struct Stranger {
  Client& client;
  std::string_view address;
  int name = 0;
  std::deque<Counter> waiters;

  // The answer at once, or nullptr: asked.
  AnswerPtr ask(bool policy) {
    const std::string text =
        "n" + std::to_string(name++) + "." + std::string(address) + ".silent.example";
    const Asker asker{.account = client.account(*base::IpAddress::parse(address)),
                      .policy = policy};
    return client.ask({*Name::parse(text), Type::kTxt}, waiters.emplace_back(),
                      base::read_clocks().mono, asker);
  }
  int ask_until_refused(bool policy) {
    for (int asked = 0;; ++asked) {
      const AnswerPtr answer = ask(policy);
      if (answer == nullptr) continue;
      EXPECT_EQ(answer->status, Status::kServerFailure);
      EXPECT_TRUE(answer->not_asked);
      return asked;
    }
  }
};

TEST_F(ClientTest, EachClientMayHaveSoManyQuestionsUnderWay) {
  server.set_dead(true);
  options.timeout_ns = 400 * base::kNsPerMs;
  options.outstanding_per_client_max = 20;
  Client& client = resolver().client();
  Stranger one{client, "192.0.2.1", 0, {}};
  Stranger other{client, "192.0.2.2", 0, {}};
  Stranger block{client, "2001:db8:0:1::1", 0, {}};
  Stranger neighbour{client, "2001:db8:0:1:ffff::2", 0, {}};
  Stranger local{client, "127.0.0.1", 0, {}};
  EXPECT_EQ(one.ask_until_refused(false), 20);
  EXPECT_EQ(one.ask_until_refused(true), 20) << "DMARC's are counted apart";
  EXPECT_EQ(other.ask_until_refused(false), 20);
  EXPECT_EQ(block.ask_until_refused(false), 20);
  EXPECT_NE(neighbour.ask(false), nullptr) << "of the same /64";
  for (int i = 0; i < 50; ++i) EXPECT_EQ(local.ask(false), nullptr);

  // Whoever goes and comes back still owes what is under way; it ends with the answer.
  one.waiters.clear();
  EXPECT_NE(one.ask(false), nullptr);
  for (int i = 0; i < 100 && client.outstanding() > 0; ++i) resolver().wait(20 * base::kNsPerMs);
  server.set_dead(false);
  for (int i = 0; i < 200 && !client.resolver_answers(); ++i) resolver().wait(20 * base::kNsPerMs);
  EXPECT_EQ(one.ask_until_refused(false), 20);
}

TEST_F(ClientTest, JoiningAQuestionUnderWayIsFree) {
  options.outstanding_per_client_max = 1;
  Client& client = resolver().client();
  const Asker asker{.account = client.account(*base::IpAddress::parse("192.0.2.1"))};
  Counter first;
  Counter second;
  Counter third;
  const base::MonoTime now = base::read_clocks().mono;
  EXPECT_EQ(client.ask(about("slow.example"), first, now, asker), nullptr);
  EXPECT_EQ(client.ask(about("slow.example"), second, now, asker), nullptr);
  EXPECT_NE(client.ask(about("good.example"), third, now, asker), nullptr);
}

// However many strangers fill the rest, policies can still be asked for.
TEST_F(ClientTest, AQuarterIsKeptForPolicies) {
  server.set_dead(true);
  options.timeout_ns = 5 * base::kNsPerSecond;
  options.outstanding_max = 100;
  options.outstanding_per_client_max = 10;
  Client& client = resolver().client();
  std::deque<Stranger> strangers;
  int asked = 0;
  std::vector<std::string> addresses;
  for (int i = 0; i < 20; ++i) addresses.push_back("192.0.2." + std::to_string(i));
  for (const std::string& address : addresses) {
    asked +=
        strangers.emplace_back(client, address, 0, std::deque<Counter>{}).ask_until_refused(false);
  }
  EXPECT_EQ(asked, 75);
  EXPECT_EQ(strangers.back().ask_until_refused(true), 10);
  Stranger command{client, "127.0.0.1", 0, {}};
  EXPECT_EQ(command.ask_until_refused(true), 15);
  EXPECT_EQ(client.outstanding(), 100U);
}

// A resolver that hears everything and says nothing: the first question finds out within two
// seconds, the next ones do not wait, and it is noticed when it is back.
TEST_F(ClientTest, ADeadResolverIsNoticedOnceAndFoundAgain) {
  options.timeout_ns = 5 * base::kNsPerSecond;
  server.set_dead(true);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("good.example")->status, Status::kTimeout);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(2000));
  EXPECT_EQ(health.told, std::vector<bool>{false});
  EXPECT_FALSE(resolver().client().resolver_answers());

  const auto down = std::chrono::steady_clock::now();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(ask("n" + std::to_string(i) + ".example")->status, Status::kTimeout);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - down, std::chrono::milliseconds(200));
  EXPECT_EQ(resolver().client().stats().refused, 1000U);

  server.set_dead(false);
  // Nobody asks; the timers alone find out.
  const auto back = std::chrono::steady_clock::now();
  while (!resolver().client().resolver_answers() &&
         std::chrono::steady_clock::now() - back < std::chrono::seconds(4)) {
    resolver().wait(50 * base::kNsPerMs);
  }
  EXPECT_EQ(health.told, (std::vector<bool>{false, true}));
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer) << "its failure was not kept";
}

TEST_F(ClientTest, AClosedPortIsNoticedAtOnce) {
  // A port that was free a moment ago.
  base::Endpoint closed;
  {
    TestDnsServer gone{Zone()};
    closed = gone.endpoint();
  }
  options.servers = {closed};
  options.timeout_ns = 5 * base::kNsPerSecond;
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("good.example")->status, Status::kTimeout);
  EXPECT_EQ(ask("www.example")->status, Status::kTimeout);
  for (int i = 0; i < 10 && health.told.empty(); ++i) resolver().wait(20 * base::kNsPerMs);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(500));
  EXPECT_EQ(health.told, std::vector<bool>{false});
}

// RFC 6891 7: asked again without an option record, and from then on without.
TEST_F(ClientTest, AServerThatRejectsOptionsIsAskedWithout) {
  using Options = TestDnsServer::Options;
  for (const auto form : {Options::kFormatError, Options::kNotImplemented, Options::kBadVersion}) {
    TestDnsServer old(Zone::parse(kZone));
    old.set_options(form);
    auto made = BlockingResolver::create({.servers = {old.endpoint()}}, &health);
    ASSERT_TRUE(made);
    BlockingResolver& resolver = **made;
    for (const auto name : {"good.example", "www.example", "chain0.example", "slow.example"}) {
      EXPECT_EQ(resolver.ask(about(name))->status, Status::kAnswer) << static_cast<int>(form);
    }
    EXPECT_EQ(resolver.ask(about("good.example", Type::kTxt))->status, Status::kAnswer);
    EXPECT_FALSE(resolver.client().servers()[0].takes_options());
    // One that c-ares asked again by itself, and one that we did.
    EXPECT_LE(old.questions_with_options(), 2U);
    EXPECT_TRUE(health.told.empty());
  }
}

// It drops what it does not know, or replies in a way that nobody can take for a reply: a probe in
// both forms tells, at the start or when a question waits.
TEST_F(ClientTest, AServerThatIsSilentAboutOptionsIsAskedWithout) {
  using Options = TestDnsServer::Options;
  for (const auto form : {Options::kDropped, Options::kFormatErrorBare, Options::kServerFailure}) {
    TestDnsServer old(Zone::parse(kZone));
    old.set_options(form);
    auto made = BlockingResolver::create({.servers = {old.endpoint()}}, &health);
    ASSERT_TRUE(made);
    BlockingResolver& resolver = **made;
    resolver.client().start(base::read_clocks().mono);
    const auto started = std::chrono::steady_clock::now();
    if (form == Options::kServerFailure) {  // which is an answer, until the probe is compared
      for (int i = 0; i < 20 && resolver.client().servers()[0].takes_options(); ++i) {
        resolver.wait(50 * base::kNsPerMs);
      }
    }
    EXPECT_EQ(resolver.ask(about("good.example"))->status, Status::kAnswer)
        << static_cast<int>(form);
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(2500));
    EXPECT_FALSE(resolver.client().servers()[0].takes_options());
    EXPECT_EQ(resolver.ask(about("good.example", Type::kTxt))->status, Status::kAnswer);
    EXPECT_TRUE(health.told.empty()) << "it was never down";
  }
}

TEST_F(ClientTest, OptionsAreKeptWhileTheyWork) {
  resolver().client().start(base::read_clocks().mono);
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  for (int i = 0; i < 12; ++i) resolver().wait(50 * base::kNsPerMs);
  EXPECT_EQ(ask("servfail.example")->status, Status::kServerFailure);
  EXPECT_EQ(ask("refused.example")->status, Status::kServerFailure);
  EXPECT_EQ(ask("www.example")->status, Status::kAnswer);
  EXPECT_TRUE(resolver().client().servers()[0].takes_options());
  EXPECT_TRUE(health.refusing.empty()) << "one name is";
}

TEST_F(ClientTest, AServerThatRefusesEverythingIsToldOfOnce) {
  server.set_refusing(true);
  resolver().client().start(base::read_clocks().mono);
  for (int i = 0; i < 20 && !resolver().client().servers()[0].refusing(); ++i) {
    resolver().wait(50 * base::kNsPerMs);
  }
  EXPECT_TRUE(resolver().client().servers()[0].refusing());
  EXPECT_TRUE(health.refusing.empty()) << "the root is no sender's name";
  EXPECT_EQ(ask("first.example")->status, Status::kServerFailure);
  const std::string address = server.address();
  EXPECT_EQ(health.refusing, std::vector<std::string>{address + " refuses"});
  for (int i = 0; i < 30; ++i) {
    EXPECT_EQ(ask("n" + std::to_string(i) + ".example")->status, Status::kServerFailure);
  }
  EXPECT_EQ(health.refusing.size(), 1U);
  server.set_refusing(false);
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  EXPECT_EQ(health.refusing, (std::vector<std::string>{address + " refuses", address + " serves"}));
  // It has served us: a few names that it refuses are no news, everything is.
  for (int i = 0; i < 5; ++i) ask("refused.example", Type::kTxt);
  EXPECT_EQ(health.refusing.size(), 2U);
}

TEST_F(ClientTest, OneThatRefusesIsLeftForOneThatServes) {
  TestDnsServer closed{Zone()};
  closed.set_refusing(true);
  options.servers = {closed.endpoint(), server.endpoint()};
  for (int i = 0; i < 3; ++i) {
    EXPECT_NE(ask("n" + std::to_string(i) + ".example")->status, Status::kServerFailure);
  }
  const std::size_t asked = closed.questions();
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  EXPECT_EQ(closed.questions(), asked);
}

TEST_F(ClientTest, TheSecondServerHelpsOut) {
  TestDnsServer failing(Zone::parse("good.example ! servfail\n"));
  options.servers = {failing.endpoint(), server.endpoint()};
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  EXPECT_EQ(failing.questions(), 1U);
  EXPECT_EQ(server.questions(), 1U);
}

TEST_F(ClientTest, ASilentServerIsLeftForOneThatAnswers) {
  TestDnsServer dead{Zone()};
  dead.set_dead(true);
  options.servers = {dead.endpoint(), server.endpoint()};
  options.timeout_ns = 3 * base::kNsPerSecond;
  EXPECT_EQ(ask("good.example")->status, Status::kAnswer);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(ask("www.example")->status, Status::kAnswer);
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::milliseconds(200));
  EXPECT_TRUE(health.told.empty());
}

TEST_F(ClientTest, AWaiterThatHasGoneIsForgotten) {
  Client& client = resolver().client();
  Counter stays;
  {
    Counter goes;
    EXPECT_EQ(client.ask(about("slow.example"), goes, base::read_clocks().mono), nullptr);
    EXPECT_EQ(client.ask(about("slow.example"), stays, base::read_clocks().mono), nullptr);
    EXPECT_TRUE(goes.waiting());
  }
  EXPECT_EQ(ask("slow.example")->status, Status::kAnswer);
  EXPECT_EQ(stays.answers, 1);
  EXPECT_FALSE(stays.waiting());
}

TEST_F(ClientTest, ClosingWithQuestionsUnderWayTellsNobody) {
  Counter waiter;
  {
    auto mine = BlockingResolver::create(options);
    ASSERT_TRUE(mine);
    EXPECT_EQ((*mine)->client().ask(about("silent.example"), waiter, base::read_clocks().mono),
              nullptr);
  }
  EXPECT_FALSE(waiter.waiting());
  EXPECT_EQ(waiter.answers, 0);
}

struct Chain final : Waiter {
  Client* client = nullptr;
  int left = 5;
  void on_answer(const Question& question, const AnswerPtr&) override {
    if (left-- == 0) return;
    const Question next = about("again" + std::to_string(left) + ".example", question.type);
    EXPECT_EQ(client->ask(next, *this, base::read_clocks().mono), nullptr);
  }
};

TEST_F(ClientTest, AWaiterMayAskAgainFromItsAnswer) {
  Chain chain;
  chain.client = &resolver().client();
  EXPECT_EQ(chain.client->ask(about("good.example"), chain, base::read_clocks().mono), nullptr);
  for (int i = 0; i < 100 && chain.left >= 0; ++i) resolver().wait(10 * base::kNsPerMs);
  EXPECT_EQ(chain.left, -1);
  EXPECT_EQ(server.questions(), 6U);
}

}  // namespace
}  // namespace mxring::dns
