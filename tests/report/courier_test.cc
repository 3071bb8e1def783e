// Letters over real connections to servers with manners of their own, and the attempts around them
// with a name server.
#include "report/courier.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>

#include "report/delivery.h"
#include "tests/dns/test_dns_server.h"
#include "tests/load/tiny_server.h"

namespace mxring::report {
namespace {

using test::Manners;
using test::TinyServer;

Stop stop_at(std::uint16_t port) {
  return {{*base::IpAddress::parse("127.0.0.1"), port}, "mx.test"};
}

std::vector<Letter> letters(std::size_t count) {
  std::vector<Letter> all(count);
  for (std::size_t i = 0; i < count; ++i) {
    all[i].mail_from = "from@mx.example";
    all[i].rcpt_to = "to" + std::to_string(i) + "@example.test";
    all[i].host = "example.test";
    all[i].content = "Subject: " + std::to_string(i) + "\r\n\r\nHello.\r\n";
    all[i].number = i;
  }
  return all;
}

CourierOptions quick(std::uint32_t connections = 4) {
  CourierOptions options;
  options.helo = "me.example";
  options.connections = connections;
  options.connect_timeout_ns = 2 * base::kNsPerSecond;
  options.reply_timeout_ns = 2 * base::kNsPerSecond;
  return options;
}

std::unique_ptr<Courier> courier(const CourierOptions& options = quick()) {
  auto made = Courier::create(options);
  EXPECT_TRUE(made) << made.error();
  return made ? std::move(*made) : nullptr;
}

Route route_for(std::vector<Letter>& all, std::vector<Stop> stops) {
  Route route{std::move(stops), {}};
  for (Letter& letter : all) route.letters.push_back(&letter);
  return route;
}

// Runs the letters along the stops; the numbers of the letters in the order they were decided.
std::vector<std::size_t> run(std::vector<Letter>& all, std::vector<Stop> stops,
                             const CourierOptions& options = quick()) {
  std::vector<std::size_t> order;
  std::vector<Route> routes;
  routes.push_back(route_for(all, std::move(stops)));
  const auto runner = courier(options);
  if (runner) runner->run(routes, [&](Letter& letter) { order.push_back(letter.number); });
  return order;
}

TEST(CourierTest, AllLettersOfARouteOverOneConnection) {
  TinyServer server({});
  auto all = letters(5);
  EXPECT_EQ(run(all, {stop_at(server.port())}), (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  for (const Letter& letter : all) {
    EXPECT_EQ(letter.fate, Fate::kAccepted);
    EXPECT_EQ(letter.server, "mx.test [127.0.0.1]:" + std::to_string(server.port()));
  }
  EXPECT_EQ(server.connections(), 1U);
  const auto contents = server.contents();
  ASSERT_EQ(contents.size(), 5U);
  EXPECT_NE(contents[3].find("Subject: 3\r\n\r\nHello.\r\n"), std::string::npos);
}

TEST(CourierTest, RepliesByteByByte) {
  Manners manners;
  manners.byte_by_byte = true;
  TinyServer server(manners);
  auto all = letters(2);
  run(all, {stop_at(server.port())});
  EXPECT_EQ(all[1].fate, Fate::kAccepted);
}

TEST(CourierTest, TheNextAddressWhenOneDoesNotWork) {
  std::uint16_t dead = 0;
  {
    TinyServer gone({});
    dead = gone.port();
  }
  Manners rude;
  rude.banner = "554 go away\r\n";
  TinyServer refusing(rude);
  TinyServer good({});
  auto all = letters(2);
  run(all, {stop_at(dead), stop_at(refusing.port()), stop_at(good.port())});
  EXPECT_EQ(all[0].fate, Fate::kAccepted);
  EXPECT_EQ(all[1].fate, Fate::kAccepted);
  EXPECT_NE(all[1].server.find(std::to_string(good.port())), std::string::npos);
  EXPECT_EQ(refusing.connections(), 1U);
}

TEST(CourierTest, ASessionThatBreaksInTheMiddle) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t message) {
    return line == "DATA" && message == 2 ? "close" : "";
  };
  TinyServer breaking(manners);
  TinyServer good({});
  auto all = letters(4);
  EXPECT_EQ(run(all, {stop_at(breaking.port()), stop_at(good.port())}),
            (std::vector<std::size_t>{0, 1, 2, 3}));
  for (const Letter& letter : all) EXPECT_EQ(letter.fate, Fate::kAccepted) << letter.number;
  EXPECT_EQ(breaking.contents().size() + good.contents().size(), 4U);
}

TEST(CourierTest, NobodyToTalkTo) {
  std::uint16_t dead = 0;
  {
    TinyServer gone({});
    dead = gone.port();
  }
  auto all = letters(2);
  EXPECT_EQ(run(all, {stop_at(dead)}).size(), 2U);
  EXPECT_EQ(all[0].fate, Fate::kPutOff);
  EXPECT_EQ(all[1].reply, "Connection refused");
  Manners busy;
  busy.banner = "421 too many\r\n";
  TinyServer server(busy);
  all = letters(1);
  run(all, {stop_at(server.port())});
  EXPECT_EQ(all[0].fate, Fate::kPutOff);
  EXPECT_EQ(all[0].code, 421);
  EXPECT_EQ(all[0].reply, "too many");
  run(all = letters(1), {});
  EXPECT_EQ(all[0].fate, Fate::kPutOff);
}

TEST(CourierTest, SilenceEndsWithTheTime) {
  Manners manners;
  manners.reply = [](std::string_view line, std::uint64_t) {
    return line.starts_with("RCPT") ? "silence" : "";
  };
  TinyServer server(manners);
  auto all = letters(1);
  run(all, {stop_at(server.port())});
  EXPECT_EQ(all[0].fate, Fate::kPutOff);
  EXPECT_EQ(all[0].reply, "no reply within the time for it");
}

TEST(CourierTest, BytesAloneAreNoProgress) {
  Manners manners;
  manners.banner = "220-" + std::string(60, 'x') + "\r\n220 x\r\n";
  manners.byte_by_byte = true;
  manners.byte_pause = std::chrono::milliseconds(20);
  TinyServer server(manners);
  CourierOptions options = quick();
  options.reply_timeout_ns = 300 * base::kNsPerMs;
  auto all = letters(1);
  run(all, {stop_at(server.port())}, options);
  EXPECT_EQ(all[0].fate, Fate::kPutOff);
  EXPECT_EQ(all[0].reply, "no reply within the time for it");
}

TEST(CourierTest, ServersThatAreAlwaysSlowAreGivenUp) {
  Manners manners;
  manners.reply = [](std::string_view, std::uint64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return "";
  };
  TinyServer slow(manners);
  TinyServer next({});
  CourierOptions options = quick();
  options.patience_ns = 300 * base::kNsPerMs;
  auto all = letters(2);
  EXPECT_EQ(run(all, {stop_at(slow.port()), stop_at(next.port())}, options).size(), 2U);
  for (const Letter& letter : all) {
    EXPECT_EQ(letter.fate, Fate::kPutOff);
    EXPECT_EQ(letter.reply, "no letter was taken or refused within the time for it");
  }
  EXPECT_EQ(next.connections(), 0U);
}

TEST(CourierTest, AuthoritiesThatCannotBeRead) {
  CourierOptions options = quick();
  options.tls = TlsUse::kRequired;
  options.authorities_file = "/nowhere/authorities.pem";
  const auto made = Courier::create(options);
  ASSERT_FALSE(made);
  EXPECT_NE(made.error().find("/nowhere/authorities.pem"), std::string::npos);
}

TEST(CourierTest, MoreRoutesThanConnections) {
  TinyServer server({});
  auto all = letters(9);
  std::vector<Route> routes;
  for (Letter& letter : all) routes.push_back({{stop_at(server.port())}, {&letter}});
  const auto runner = courier(quick(2));
  ASSERT_TRUE(runner);
  std::size_t decided = 0;
  runner->run(routes, [&](Letter&) { ++decided; });
  EXPECT_EQ(decided, 9U);
  for (const Letter& letter : all) EXPECT_EQ(letter.fate, Fate::kAccepted);
  EXPECT_EQ(server.connections(), 9U);
}

// ---- Attempts

struct Delivered {
  std::vector<Letter> letters;
  std::size_t waits = 0;
};

Delivered deliver_to(const std::vector<std::string>& hosts, std::string_view zone,
                     std::uint16_t port, std::uint32_t attempts) {
  Delivered result;
  result.letters = letters(hosts.size());
  for (std::size_t i = 0; i < hosts.size(); ++i) result.letters[i].host = hosts[i];
  test::TestDnsServer dns(test::Zone::parse(zone));
  dns::ClientOptions options;
  options.servers = {dns.endpoint()};
  auto resolver = dns::BlockingResolver::create(options);
  const auto runner = courier();
  if (!resolver || !runner) {
    ADD_FAILURE() << "no resolver or no ring";
    return result;
  }
  DeliveryEvents events;
  events.decided = [](const Letter&) {};
  events.waiting = [&](std::size_t, std::int64_t) { ++result.waits; };
  deliver(result.letters,
          {.port = port, .attempts = attempts, .retry_after_ns = 10 * base::kNsPerMs}, **resolver,
          *runner, 1, events);
  return result;
}

TEST(DeliveryTest, HostsFromDns) {
  TinyServer server({});
  const Delivered done =
      deliver_to({"mx.test", "plain.test", "null.test", "none.test", "empty.test"},
                 R"(
mx.test MX 10 nowhere.test 20 host.test
host.test A 127.0.0.1
plain.test A 127.0.0.1
null.test MX 0 .
empty.test TXT "here"
)",
                 server.port(), 1);
  EXPECT_EQ(done.letters[0].fate, Fate::kAccepted) << done.letters[0].reply;
  EXPECT_TRUE(done.letters[0].server.starts_with("host.test [127.0.0.1]:"));
  EXPECT_EQ(done.letters[1].fate, Fate::kAccepted);
  EXPECT_EQ(done.letters[2].fate, Fate::kRefused);
  EXPECT_EQ(done.letters[2].reply, "the domain takes no mail (null MX, RFC 7505)");
  EXPECT_EQ(done.letters[3].fate, Fate::kRefused);
  EXPECT_EQ(done.letters[3].reply, "no such domain");
  EXPECT_EQ(done.letters[4].fate, Fate::kRefused);
  EXPECT_EQ(done.waits, 0U);
}

TEST(DeliveryTest, WhatIsPutOffIsTriedAgain) {
  Manners manners;
  const auto asked = std::make_shared<std::atomic<int>>(0);
  manners.reply = [asked](std::string_view line, std::uint64_t) {
    return line.starts_with("MAIL") && ++*asked < 3 ? "451 greylisted\r\n" : "";
  };
  TinyServer server(manners);
  constexpr std::string_view kZone = "a.test A 127.0.0.1\n";
  Delivered done = deliver_to({"a.test"}, kZone, server.port(), 5);
  EXPECT_EQ(done.letters[0].fate, Fate::kAccepted) << done.letters[0].reply;
  EXPECT_EQ(done.letters[0].attempts, 3U);
  EXPECT_EQ(done.waits, 2U);
  manners.reply = [](std::string_view line, std::uint64_t) {
    return line.starts_with("MAIL") ? "451 greylisted for ever\r\n" : "";
  };
  TinyServer stubborn(manners);
  done = deliver_to({"a.test"}, kZone, stubborn.port(), 3);
  EXPECT_EQ(done.letters[0].fate, Fate::kPutOff);
  EXPECT_EQ(done.letters[0].attempts, 3U);
  EXPECT_EQ(done.waits, 2U);
  manners.reply = [](std::string_view line, std::uint64_t) {
    return line.starts_with("MAIL") ? "550 no\r\n" : "";
  };
  TinyServer refusing(manners);
  done = deliver_to({"a.test"}, kZone, refusing.port(), 3);
  EXPECT_EQ(done.letters[0].fate, Fate::kRefused);
  EXPECT_EQ(done.letters[0].attempts, 1U);
}

}  // namespace
}  // namespace mxring::report
