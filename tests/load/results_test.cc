// Percentiles against exact ones, conditions, and what is printed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <string>
#include <vector>

#include "load/fail_if.h"
#include "load/process_cpu.h"
#include "load/random.h"
#include "load/report.h"
#include "load/tally.h"

namespace mxring::load {
namespace {

Results results_of(const Tally& tally) {
  Results results;
  results.sent = tally.sent;
  results.accepted = tally.accepted;
  results.rejected = tally.rejected;
  results.lost = tally.lost;
  results.codes = tally.codes;
  results.losses = tally.losses;
  results.latency_ns = std::make_unique<obs::Histogram>();
  results.latency_ns->merge(tally.latency_ns);
  return results;
}

// The value a sorted list of all latencies gives for this quantile.
std::int64_t exact(const std::vector<std::int64_t>& sorted, double quantile) {
  const double rank = std::ceil(quantile * static_cast<double>(sorted.size()));
  return sorted[static_cast<std::size_t>(std::max(rank, 1.0)) - 1];
}

TEST(ResultsTest, PercentilesAreWithinTheirBoundOfTheExactOnes) {
  Random random(3);
  Tally workers[2];
  std::vector<std::int64_t> all;
  for (int i = 0; i < 100'000; ++i) {
    // From microseconds to seconds, as latencies spread.
    const auto latency = static_cast<std::int64_t>(1000 * std::exp(14 * random.unit()));
    all.push_back(latency);
    workers[i % 2].accept(latency, 100);
  }
  std::ranges::sort(all);
  obs::Histogram merged;
  for (const Tally& worker : workers) merged.merge(worker.latency_ns);
  EXPECT_EQ(merged.count(), all.size());
  EXPECT_EQ(merged.max(), static_cast<std::uint64_t>(all.back()));
  for (const double quantile : {0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto truth = static_cast<double>(exact(all, quantile));
    const auto reported = static_cast<double>(merged.percentile(quantile));
    EXPECT_GE(reported, truth) << quantile;
    EXPECT_LE(reported, truth * (1 + 1.0 / 32)) << quantile;
  }
}

Results sample() {
  Tally tally;
  for (int i = 1; i <= 100; ++i) tally.accept(i * 1'000'000, 1000);  // 1 to 100 ms
  for (int i = 0; i < 15; ++i) tally.reject(452, "4.3.1 full");
  tally.reject(550, "5.7.1 \x1b[31mno");
  tally.lose(Loss::kTimeout, 4);
  Results results = results_of(tally);
  results.seconds = 2;
  results.rate = 50;
  results.client_cpu_us = 12.5;
  results.recipients = 160;
  results.recipient_codes[550] = {40, "5.7.1 no"};
  return results;
}

TEST(FailIfTest, ComparesWhatItNames) {
  const Results results = sample();
  const auto broken = [&results](std::string_view text) {
    const auto condition = FailIf::parse(text);
    EXPECT_TRUE(condition.has_value()) << text;
    return condition && condition->broken_by(results).has_value();
  };
  EXPECT_TRUE(broken("p99>20ms"));
  EXPECT_FALSE(broken("p99>200ms"));
  EXPECT_TRUE(broken("p50 > 49.5ms"));
  EXPECT_FALSE(broken("p50>0.06s"));
  EXPECT_TRUE(broken("p90>=90ms"));
  EXPECT_TRUE(broken("p999>99ms"));
  EXPECT_TRUE(broken("p99.9>99ms"));
  EXPECT_TRUE(broken("max>=100ms"));
  EXPECT_FALSE(broken("max>100ms"));
  EXPECT_TRUE(broken("p50<1s"));
  EXPECT_TRUE(broken("p50<=1s"));
  EXPECT_FALSE(broken("p50<1us"));
  EXPECT_TRUE(broken("rate<50.5"));
  EXPECT_FALSE(broken("rate<50"));
  EXPECT_TRUE(broken("rate<=50/s"));
  EXPECT_TRUE(broken("errors>19"));
  EXPECT_FALSE(broken("errors>20"));
  EXPECT_TRUE(broken("errors>16%"));  // 20 of 120
  EXPECT_FALSE(broken("errors>17 %"));
  EXPECT_TRUE(broken("rejected>=16"));
  EXPECT_TRUE(broken("lost>3"));
  EXPECT_FALSE(broken("lost>4"));
  EXPECT_TRUE(broken("recipients_rejected>39"));
  EXPECT_FALSE(broken("recipients_rejected>40"));
  EXPECT_TRUE(broken("recipients_rejected>=25%"));  // 40 of 160
  EXPECT_FALSE(broken("recipients_rejected>25%"));
  EXPECT_EQ(FailIf::parse("errors>0")->broken_by(results), "errors is 20");
}

TEST(FailIfTest, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"", "p99", ">20ms", "p99>", "p99>20", "p99>ms", "p98>20ms", "p99=20ms",
                           "p99=>20ms", "p99>20ms x", "errors>x", "errors>-1", "errors>1ms",
                           "rate>5%", "p99>5%", "p99>1.2.3ms", "p99><5ms"}) {
    const auto condition = FailIf::parse(text);
    ASSERT_FALSE(condition.has_value()) << text;
    EXPECT_EQ(condition.error().find('\n'), std::string::npos);
  }
}

TEST(FailIfTest, WithoutASampleNoLatencyIsTooLongOrTooShort) {
  Results results;
  results.sent = results.lost = 3;
  results.latency_ns = std::make_unique<obs::Histogram>();
  for (const char* text : {"p50<1s", "p99>1us", "max>=0s"}) {
    EXPECT_EQ(FailIf::parse(text)->broken_by(results), std::nullopt) << text;
  }
  EXPECT_EQ(FailIf::parse("errors>0")->broken_by(results), "errors is 3");
}

// The words of --fail-if and the keys of JSON are about the same things.
TEST(ReportTest, JsonHasTheKeysOthersRelyOn) {
  Results results = sample();
  results.connections = 4;
  results.content_bytes_per_second = 50'000;
  results.notes = {"a note"};
  EXPECT_EQ(results_json(results),
            "{\"sent\":120,\"accepted\":100,\"rejected\":["
            "{\"code\":452,\"count\":15,\"text\":\"4.3.1 full\"},"
            "{\"code\":550,\"count\":1,\"text\":\"5.7.1 "
            "\\u001b[31mno\"}],\"errors\":4,\"not_accepted\":20,"
            "\"losses\":[{\"reason\":\"timed out\",\"count\":4}],\"recipients_rejected\":["
            "{\"code\":550,\"count\":40,\"text\":\"5.7.1 no\"}],\"connections\":4,"
            "\"seconds\":2.000000,\"rate\":50.000,\"bytes_per_second\":50000.0,"
            "\"latency_us\":{\"p50\":50331.6,\"p90\":90177.5,\"p99\":100000.0,\"p999\":100000.0,"
            "\"max\":100000.0},\"cpu_us_per_message\":{\"client\":12.500,\"server\":null},"
            "\"notes\":[\"a note\"]}\n");
  results.server_cpu = ServerCpu{20.25, 5, 15.25};
  EXPECT_NE(results_json(results).find("\"server\":20.250}"), std::string::npos);
}

TEST(ReportTest, WhereNothingWasMeasuredThereIsNoNumber) {
  Results results;
  results.latency_ns = std::make_unique<obs::Histogram>();
  std::string json = results_json(results);
  EXPECT_NE(json.find("\"latency_us\":{\"p50\":null,\"p90\":null,\"p99\":null,\"p999\":null,"
                      "\"max\":null},\"cpu_us_per_message\":{\"client\":null,\"server\":null}"),
            std::string::npos)
      << json;
  results.sent = results.lost = 3;
  json = results_json(results);
  EXPECT_NE(json.find("\"errors\":3,\"not_accepted\":3,"), std::string::npos) << json;
  EXPECT_NE(json.find("\"p50\":null"), std::string::npos) << json;
}

TEST(ReportTest, TableSaysWhatWentWrongInPrintableText) {
  Results results = sample();
  results.notes = {"something to know"};
  const std::string table = results_table(results);
  for (const char* part :
       {"messages sent", "answered 452", "4.3.1 full", "answered 550", "timed out", "latency p99.9",
        "550 5.7.1 no\n", "client CPU", "note: something to know"}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << "\n" << table;
  }
  EXPECT_EQ(table.find('\x1b'), std::string::npos);
}

TEST(ProcessCpuTest, SeesOurOwnWork) {
  const auto before = read_process_cpu(::getpid());
  ASSERT_TRUE(before.has_value());
  const std::clock_t begin = std::clock();  // CPU time, so other processes do not matter
  volatile std::uint64_t sink = 0;
  while (std::clock() - begin < CLOCKS_PER_SEC / 5) sink = sink + 1;
  const auto after = read_process_cpu(::getpid());
  ASSERT_TRUE(after.has_value());
  const double used = after->total_seconds - before->total_seconds;
  EXPECT_GT(used, 0.17);
  EXPECT_LT(used, 0.5);
  EXPECT_FALSE(read_process_cpu(-1).has_value());
}

}  // namespace
}  // namespace mxring::load
