// The suites once more, end to end: `mxring spf --resolver` as a process of its own against a DNS
// server on loopback that really times out. Then the server's faults, seen from outside.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>

#include "base/text.h"
#include "tests/dns/test_dns_server.h"
#include "tests/mailauth/spf_suite.h"

extern char** environ;

namespace mxring::test {
namespace {

struct Finished {
  int exit_code = -1;
  std::string out;
};

// Runs mxring with these arguments; standard error goes to ours.
Finished run(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), MXRING_PROGRAM);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  int pipe_fds[2];
  if (::pipe2(pipe_fds, O_CLOEXEC) != 0) return {};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], STDOUT_FILENO);
  pid_t pid = 0;
  const int spawned = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(pipe_fds[1]);
  Finished result;
  char buffer[4096];
  for (ssize_t got; (got = ::read(pipe_fds[0], buffer, sizeof buffer)) > 0;) {
    result.out.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(pipe_fds[0]);
  int status = 0;
  if (spawned == 0 && ::waitpid(pid, &status, 0) == pid && WIFEXITED(status)) {
    result.exit_code = WEXITSTATUS(status);
  }
  return result;
}

// The value of a string member in one JSON object of ours; the tests' values have no escapes.
std::string member(const std::string& json, const std::string& key) {
  const std::string start = "\"" + key + "\":\"";
  const std::size_t at = json.find(start);
  if (at == std::string::npos) return "(missing)";
  const std::size_t begin = at + start.size();
  return json.substr(begin, json.find('"', begin) - begin);
}

class SpfCommandTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(, SpfCommandTest, testing::Bool(), [](const auto& mode) {
  return mode.param ? "EveryReplyTruncated" : "OverUdp";
});

TEST_P(SpfCommandTest, EveryCaseOfTheSuitesThroughTheCommand) {
  const SpfSuites suites = load_spf_suites();
  if (!suites.missing.empty()) GTEST_SKIP() << suites.missing;
  TestDnsServer server{Zone()};
  server.set_truncating(GetParam());
  int graded = 0;
  int explanations = 0;
  for (const SpfCase& test : suites.cases) {
    if (suites.exceptions.contains(test.id)) continue;
    ++graded;
    server.set_zone(*test.zone);
    const Finished got = run({"spf", "--json", "--ip", test.host, "--mail-from", test.mail_from,
                              "--helo", test.helo, "--receiver", "mx.receiver.example",
                              "--resolver", server.address(), "--timeout", "400ms"});
    EXPECT_EQ(got.exit_code, 0) << test.id;
    const std::string result = member(got.out, "result");
    EXPECT_NE(std::ranges::find(test.results, result), test.results.end())
        << test.id << " wanted " << test.results.front() << ", got " << got.out;
    if (!test.explanation.empty() && result == "fail") {
      ++explanations;
      const std::string text = member(got.out, "explanation");
      EXPECT_TRUE(base::ascii_iequals(text.empty() ? "DEFAULT" : text, test.explanation))
          << test.id << ": " << text;
    }
  }
  EXPECT_EQ(graded, 193 + 14 + 15);
  EXPECT_GE(explanations, 20);
  if (GetParam()) {
    EXPECT_GE(server.tcp_questions(), 200U);
  } else {
    EXPECT_EQ(server.tcp_questions(), 0U);
  }
}

constexpr const char* kFaultZone = R"(
pass.example TXT "v=spf1 a:www.pass.example -all"
www.pass.example A 192.0.2.1
truncated.example TXT "v=spf1 ip4:192.0.2.1 -all"
truncated.example ! truncated
wrong-id.example TXT "v=spf1 ip4:192.0.2.1 -all"
wrong-id.example ! wrong-id
wrong-question.example TXT "v=spf1 ip4:192.0.2.1 -all"
wrong-question.example ! wrong-question
slow.example TXT "v=spf1 ip4:192.0.2.1 -all"
slow.example ! slow 100
alias.example CNAME pass.example
servfail.example ! servfail
silent.example ! silent
loop.example ! compression-loop
garbage.example ! garbage
tcp-closes.example ! tcp-closes
circle.example CNAME circle2.example
circle2.example CNAME circle.example
mail.example MX 20 b.mail.example
mail.example MX 10 a.mail.example
mail.example MX 20 c.mail.example
a.mail.example A 192.0.2.10
a.mail.example AAAA 2001:db8::10
b.mail.example A 192.0.2.11
c.mail.example A 192.0.2.12
null.example MX 0 .
host.example A 192.0.2.20
text.example TXT "only text"
1.2.0.192.in-addr.arpa PTR odd\013\010name.example
)";

class FaultTest : public testing::Test {
 protected:
  FaultTest() : server(Zone::parse(kFaultZone)) {}
  Finished mxring(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--resolver", server.address(), "--timeout", "600ms"});
    return run(std::move(arguments));
  }
  std::string spf(const std::string& domain) {
    return member(mxring({"spf", "--json", "--ip", "192.0.2.1", "--mail-from", "a@" + domain,
                          "--helo", "mx.example"})
                      .out,
                  "result");
  }
  TestDnsServer server;
};

TEST_F(FaultTest, SpfSurvivesWhatAServerMayDo) {
  for (const char* name : {"pass.example", "truncated.example", "wrong-id.example",
                           "wrong-question.example", "slow.example", "alias.example"}) {
    EXPECT_EQ(spf(name), "pass") << name;
  }
  for (const char* name : {"servfail.example", "silent.example", "loop.example", "garbage.example",
                           "tcp-closes.example", "circle.example"}) {
    const auto started = std::chrono::steady_clock::now();
    EXPECT_EQ(spf(name), "temperror") << name;
    EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5)) << name;
  }
}

TEST_F(FaultTest, AnEmptyReversePathIsTheNullOne) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"--mail-from="}, {"--mail-from", ""}, {"--mail-from", "<>"}, {"--mail-from=<>"}}) {
    std::vector<std::string> arguments{"spf", "--json", "--ip", "192.0.2.1"};
    arguments.insert(arguments.end(), words.begin(), words.end());
    arguments.insert(arguments.end(), {"--helo", "pass.example"});
    const Finished got = mxring(arguments);
    EXPECT_EQ(member(got.out, "result"), "pass") << words.front();
    EXPECT_EQ(member(got.out, "identity"), "helo") << words.front();
  }
}

TEST_F(FaultTest, ADeadResolverIsATemperrorInTime) {
  server.set_dead(true);
  const auto started = std::chrono::steady_clock::now();
  EXPECT_EQ(spf("pass.example"), "temperror");
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(5));
}

TEST_F(FaultTest, LookupSaysWhatThereIs) {
  EXPECT_EQ(mxring({"dns", "lookup", "www.pass.example"}).out,
            "www.pass.example  A    300  192.0.2.1\n");
  EXPECT_EQ(mxring({"dns", "lookup", "mail.example", "mx", "--json"}).out,
            R"({"name":"mail.example","type":"MX","status":"answer","aliases":[],"answers":[)"
            R"({"ttl":300,"preference":20,"value":"b.mail.example"},)"
            R"({"ttl":300,"preference":10,"value":"a.mail.example"},)"
            R"({"ttl":300,"preference":20,"value":"c.mail.example"}]})"
            "\n");
  EXPECT_EQ(mxring({"dns", "lookup", "none.example"}).out, "none.example A: no-such-name\n");
  EXPECT_EQ(mxring({"dns", "lookup", "text.example"}).out, "text.example A: no-data\n");
  EXPECT_EQ(mxring({"dns", "lookup", "192.0.2.1"}).out,
            "1.2.0.192.in-addr.arpa  PTR    300  odd\\013\\010name.example\n");
  EXPECT_EQ(mxring({"dns", "lookup", "alias.example", "TXT"}).out,
            "alias.example is an alias of pass.example\n"
            "pass.example  TXT    300  \"v=spf1 a:www.pass.example -all\"\n");
  const Finished failed = mxring({"dns", "lookup", "servfail.example"});
  EXPECT_TRUE(failed.out.starts_with("servfail.example A: server-failure from 127.0.0.1:"))
      << failed.out;
  EXPECT_EQ(failed.exit_code, 1);
  EXPECT_EQ(mxring({"dns", "lookup", "a..b"}).exit_code, 2);
  EXPECT_EQ(mxring({"dns", "lookup", "a.example", "SOA"}).exit_code, 2);
}

TEST_F(FaultTest, MxGivesTheOrderOfDelivery) {
  bool b_first = false;
  bool c_first = false;
  for (int i = 0; i < 40 && !(b_first && c_first); ++i) {
    const std::string out = mxring({"dns", "mx", "mail.example", "--json"}).out;
    const std::size_t a = out.find(R"({"preference":10,"name":"a.mail.example",)"
                                   R"("addresses":["2001:db8::10","192.0.2.10"]})");
    const std::size_t b = out.find("b.mail.example");
    const std::size_t c = out.find("c.mail.example");
    ASSERT_NE(a, std::string::npos) << out;
    EXPECT_LT(a, std::min(b, c)) << out;
    (b < c ? b_first : c_first) = true;
  }
  EXPECT_TRUE(b_first && c_first) << "equal preferences are shuffled";
  EXPECT_EQ(mxring({"dns", "mx", "null.example", "--json"}).out,
            R"({"domain":"null.example","status":"null-mx","exchangers":[]})"
            "\n");
  EXPECT_EQ(mxring({"dns", "mx", "host.example", "--json"}).out,
            R"({"domain":"host.example","status":"fallback","exchangers":[)"
            R"({"preference":0,"name":"host.example","addresses":["192.0.2.20"]}]})"
            "\n");
  EXPECT_EQ(member(mxring({"dns", "mx", "text.example", "--json"}).out, "status"), "no-host");
  EXPECT_EQ(member(mxring({"dns", "mx", "none.example", "--json"}).out, "status"), "no-such-name");
  EXPECT_EQ(mxring({"dns", "mx", "silent.example"}).exit_code, 1);
}

}  // namespace
}  // namespace mxring::test
