#include "dns/mail_hosts.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "dns/ask.h"
#include "tests/dns/test_dns_server.h"

namespace mxring::dns {
namespace {

using Status = MailHostsStatus;

const Name kDomain = Name::parse("example.org").value();

AnswerPtr says(dns::Status status) {
  auto answer = std::make_shared<Answer>();
  answer->status = status;
  return answer;
}

AnswerPtr exchangers(std::vector<Exchanger> hosts) {
  auto answer = std::make_shared<Answer>();
  answer->status = dns::Status::kAnswer;
  answer->exchangers = std::move(hosts);
  return answer;
}

AnswerPtr address(const char* text) {
  auto answer = std::make_shared<Answer>();
  answer->status = dns::Status::kAnswer;
  answer->addresses = {base::IpAddress::parse(text).value()};
  return answer;
}

const Question kMx{kDomain, Type::kMx};

TEST(MailHostsTest, OrdersExchangersAndPutsIpv6First) {
  MailHosts hosts(kDomain, 1);
  EXPECT_FALSE(hosts.step());
  const Name first = Name::parse("a.example").value(), second = Name::parse("b.example").value();
  hosts.supply(kMx, exchangers({{20, second}, {10, first}}));
  ASSERT_FALSE(hosts.step());
  EXPECT_EQ(hosts.questions().size(), 4U);
  hosts.supply({first, Type::kA}, address("192.0.2.1"));
  hosts.supply({first, Type::kAaaa}, address("2001:db8::1"));
  hosts.supply({first, Type::kA}, address("192.0.2.9"));  // answered before: not asked any more
  hosts.supply({second, Type::kA}, says(dns::Status::kNoData));
  hosts.supply({second, Type::kAaaa}, says(dns::Status::kNoData));
  ASSERT_TRUE(hosts.step());
  EXPECT_EQ(hosts.status(), Status::kExchangers);
  ASSERT_EQ(hosts.hosts().size(), 2U);
  EXPECT_EQ(hosts.hosts()[0].name, first);
  ASSERT_EQ(hosts.hosts()[0].addresses.size(), 2U);
  EXPECT_EQ(hosts.hosts()[0].addresses[0].to_string(), "2001:db8::1");
}

TEST(MailHostsTest, SaysWhyThereIsNone) {
  const auto after = [](const AnswerPtr& answer) {
    MailHosts hosts(kDomain, 1);
    hosts.supply(kMx, answer);
    EXPECT_TRUE(hosts.step());
    return hosts.status();
  };
  EXPECT_EQ(after(says(dns::Status::kNoName)), Status::kNoName);
  EXPECT_EQ(after(says(dns::Status::kServerFailure)), Status::kServerFailure);
  EXPECT_EQ(after(says(dns::Status::kTimeout)), Status::kTimeout);
  EXPECT_EQ(after(exchangers({{0, Name()}})), Status::kNullMx);
}

TEST(MailHostsTest, WithoutExchangersTheDomainsOwnAddresses) {
  MailHosts hosts(kDomain, 1);
  hosts.supply(kMx, says(dns::Status::kNoData));
  ASSERT_FALSE(hosts.step());
  hosts.supply({kDomain, Type::kA}, says(dns::Status::kNoData));
  hosts.supply({kDomain, Type::kAaaa}, says(dns::Status::kNoData));
  EXPECT_TRUE(hosts.step());
  EXPECT_EQ(hosts.status(), Status::kNoHost);
}

TEST(MailHostsTest, GivenUpItKeepsWhatItHas) {
  MailHosts nothing(kDomain, 1);
  nothing.give_up();
  EXPECT_TRUE(nothing.step());
  EXPECT_EQ(nothing.status(), Status::kTimeout);

  MailHosts half(kDomain, 1);
  const Name host = Name::parse("a.example").value();
  half.supply(kMx, exchangers({{10, host}}));
  half.supply({host, Type::kA}, address("192.0.2.1"));
  half.give_up();
  EXPECT_TRUE(half.step());
  EXPECT_EQ(half.status(), Status::kExchangers);

  MailHosts unaddressed(kDomain, 1);
  unaddressed.supply(kMx, exchangers({{10, host}}));
  unaddressed.give_up();
  EXPECT_TRUE(unaddressed.step());
  EXPECT_EQ(unaddressed.status(), Status::kTimeout);
}

TEST(AskUntilDoneTest, AsksEachQuestionOnceAndGivesUpWhenTheTimeIsOver) {
  test::TestDnsServer server(
      test::Zone::parse("example.org MX 10 a.example\n"
                        "a.example A 192.0.2.1\n"));
  auto resolver = BlockingResolver::create({.servers = {server.endpoint()}});
  ASSERT_TRUE(resolver) << resolver.error();
  MailHosts one(kDomain, 1), other(kDomain, 2);
  MailHosts* const both[] = {&one, &other};
  const base::MonoTime now = base::read_clocks().mono;
  ask_until_done(std::span<MailHosts* const>(both), **resolver, now, 10 * base::kNsPerSecond);
  for (const MailHosts* hosts : both) {
    EXPECT_EQ(hosts->status(), Status::kExchangers);
    ASSERT_EQ(hosts->hosts().size(), 1U);
    EXPECT_EQ(hosts->hosts()[0].addresses.size(), 1U);
  }
  MailHosts late(kDomain, 3);
  ask_until_done(late, **resolver, now, 0);
  EXPECT_EQ(late.status(), Status::kTimeout);
  EXPECT_TRUE(late.step());
}

}  // namespace
}  // namespace mxring::dns
