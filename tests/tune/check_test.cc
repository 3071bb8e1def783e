// The checks on invented hosts: each text file in hosts/ says what it should lead to.
#include "tune/check.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "tests/tune/fake_host.h"
#include "tune/check_report.h"

namespace mxring::tune {
namespace {

using test::FakeHost;

CheckInput input_for(const FakeHost& fake) {
  CheckInput input;
  input.host = fake.host();
  input.receiver.memory_bytes = 256ULL << 20;
  input.receiver.dns_cache_bytes = 64ULL << 20;
  input.receiver.segment_bytes = 256ULL << 20;
  input.receiver.shard_cpus = {0, 1};
  input.receiver.listen = {*base::Endpoint::parse("0.0.0.0:25")};
  input.place.directory = "/var/lib/mxring/log";
  input.place.existing = "/var/lib";
  input.place.free_bytes = 80ULL << 30;
  input.place.total_bytes = 100ULL << 30;
  input.place.device_major = 254;
  input.place.device_minor = 1;
  input.features.usable = true;
  input.features.kernel = "6.12.0";
  input.measured.clock_ns = 20;
  input.measured.system_call_ns = 90;
  input.measured.commits = {{4096, 100, 300'000, 900'000}, {1 << 20, 50, 2'000'000, 4'000'000}};
  input.measured.busy_ns = 100;
  input.measured.woken_ns = 110;
  input.measured.burst = 1024;
  input.measured.burst_taken = 129;
  input.measured.resolver = "192.0.2.53";
  input.measured.resolver_ns = {200'000, 100'000, 150'000};
  return input;
}

std::string everything(const Row& row) {
  return row.current + '|' + row.wanted + '|' + row.fix + '|' + row.persist + '|' + row.undo + '|' +
         row.effect + '|' + row.skipped;
}

void expect_as_written(const FakeHost& fake, const std::vector<Row>& rows) {
  ASSERT_FALSE(fake.expectations().empty());
  for (const auto& expected : fake.expectations()) {
    const auto row = std::ranges::find_if(
        rows, [&](const Row& candidate) { return candidate.name == expected.row; });
    ASSERT_NE(row, rows.end()) << "no row " << expected.row;
    EXPECT_EQ(word(row->verdict), expected.verdict) << expected.row << ": " << everything(*row);
    EXPECT_NE(everything(*row).find(expected.text), std::string::npos)
        << expected.row << ": " << everything(*row);
  }
}

// What a reader relies on, whatever the host: every row that asks for something says what to do and
// how to undo it, every skipped one why.
void expect_complete(const std::vector<Row>& rows) {
  std::set<std::string> names;
  for (const Row& row : rows) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name << " twice";
    EXPECT_FALSE(row.group.empty()) << row.name;
    EXPECT_FALSE(row.wanted.empty()) << row.name;
    EXPECT_FALSE(row.why.empty()) << row.name;
    if (row.verdict == Verdict::kSkipped) {
      EXPECT_FALSE(row.skipped.empty()) << row.name;
      continue;
    }
    EXPECT_FALSE(row.current.empty()) << row.name;
    if (row.verdict == Verdict::kOk) continue;
    EXPECT_FALSE(row.fix.empty()) << row.name;
    EXPECT_FALSE(row.persist.empty()) << row.name;
    EXPECT_FALSE(row.undo.empty()) << row.name;
  }
}

TEST(CheckTest, AnOrdinaryHost) {
  const FakeHost fake("ordinary");
  const auto rows = run_checks(input_for(fake));
  expect_as_written(fake, rows);
  expect_complete(rows);
  EXPECT_FALSE(any_problem(rows));
}

TEST(CheckTest, AContainerWithLittle) {
  const FakeHost fake("container");
  CheckInput input = input_for(fake);
  input.receiver.shard_cpus = {-1, -1};
  input.place.unfit = "overlayfs";
  const auto rows = run_checks(input);
  expect_as_written(fake, rows);
  expect_complete(rows);
  EXPECT_TRUE(any_problem(rows));
  // An overlay is no obstacle to a benchmark that promises nothing.
  input.receiver.durable = false;
  for (const Row& row : run_checks(input)) {
    if (row.name == "file system of the log") {
      EXPECT_EQ(word(row.verdict), "advice");
    }
  }
}

TEST(CheckTest, AnOldKernel) {
  const FakeHost fake("old_kernel");
  CheckInput input = input_for(fake);
  input.features = {};
  input.features.kernel = "5.10.0";
  input.features.problem = "this kernel is too old";
  input.receiver.shard_cpus = {0, 1, 2, 3};
  input.place.free_bytes = 1ULL << 30;
  const auto rows = run_checks(input);
  expect_as_written(fake, rows);
  expect_complete(rows);
}

// Nothing may be read: no row fails, none is left out in silence.
TEST(CheckTest, WithoutAnyRight) {
  const FakeHost fake("ordinary");
  CheckInput input = input_for(fake);
  input.measured = {};
  input.measured.commits_skipped = "no right to write";
  const bool root = ::geteuid() == 0;
  if (root) {
    ASSERT_EQ(::seteuid(65534), 0);  // the tree's root is for its owner only
  } else {
    input.host = Host("/nowhere");
  }
  const auto rows = run_checks(input);
  if (root) {
    ASSERT_EQ(::seteuid(0), 0);
  }
  expect_complete(rows);
  EXPECT_FALSE(any_problem(rows));
  const auto skipped =
      std::ranges::count_if(rows, [](const Row& row) { return row.verdict == Verdict::kSkipped; });
  EXPECT_GE(skipped, 20);
  for (const Row& row : rows) {
    if (row.name != "net.core.somaxconn") continue;
    EXPECT_NE(row.skipped.find(root ? "no right to read" : "there is no"), std::string::npos);
  }
}

TEST(CheckTest, SlowAndSuspiciousDisks) {
  const FakeHost fake("ordinary");
  CheckInput input = input_for(fake);
  const auto commits = [&input] {
    for (const Row& row : run_checks(input)) {
      if (row.name == "commits") return row;
    }
    return Row{};
  };
  EXPECT_EQ(word(commits().verdict), "ok");
  input.measured.commits[0].p50_ns = 25'000'000;
  EXPECT_EQ(word(commits().verdict), "advice");
  EXPECT_NE(commits().fix.find("protected write cache"), std::string::npos);
  input.measured.commits[0].p50_ns = 3'000;  // no disk is as fast as that
  EXPECT_NE(commits().fix.find("before it is"), std::string::npos);
  EXPECT_NE(commits().effect.find("1.00 MiB 2.00 ms/4.00 ms (500"), std::string::npos)
      << commits().effect;
}

TEST(CheckTest, AResolverThatIsFarOrSilent) {
  const FakeHost fake("ordinary");
  CheckInput input = input_for(fake);
  input.measured.resolver_ns = {9'000'000, 8'000'000, 30'000'000};
  EXPECT_EQ(word(run_checks(input).back().verdict), "advice");
  EXPECT_EQ(run_checks(input).back().current, "9.00 ms");
  input.measured.resolver_ns.clear();
  input.measured.resolver_problem = "does not answer";
  EXPECT_EQ(word(run_checks(input).back().verdict), "advice");
  input.receiver.asks_dns = false;
  EXPECT_EQ(word(run_checks(input).back().verdict), "skipped");
}

TEST(CheckReportTest, FitsEightyColumns) {
  const FakeHost fake("ordinary");
  const auto rows = run_checks(input_for(fake));
  for (const bool verbose : {false, true}) {
    const std::string table = check_table(rows, "headline", {verbose, false, 80});
    std::size_t begin = 0;
    while (begin < table.size()) {
      const std::size_t end = table.find('\n', begin);
      const std::string line = table.substr(begin, end - begin);
      // A path or setting is never broken, so that it can be copied.
      const auto columns = std::ranges::count_if(
          line, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
      if (line.find('/') == std::string::npos) {
        EXPECT_LE(columns, 80) << line;
      }
      begin = end + 1;
    }
    EXPECT_NE(table.find("undo     sysctl -w net.core.somaxconn=128"), std::string::npos);
    EXPECT_EQ(table.find("\nok: kernel") != std::string::npos, verbose);
  }
}

TEST(CheckReportTest, UsesTheTerminalsWidthAndCutsNothingElsewhere) {
  std::vector<Row> rows(2);
  rows[0].name = "a name";
  rows[0].current = std::string(40, 'c');
  rows[0].wanted = std::string(60, 'w');
  const std::string piped = check_table(rows, "headline", {false, false, 0});
  EXPECT_NE(piped.find(rows[0].current + ' ' + rows[0].wanted), std::string::npos) << piped;
  EXPECT_NE(check_table(rows, "headline", {false, false, 150}).find(rows[0].wanted),
            std::string::npos);
  const std::string narrow = check_table(rows, "headline", {false, false, 80});
  EXPECT_EQ(narrow.find(rows[0].wanted), std::string::npos);
  EXPECT_NE(narrow.find("w\u2026\n"), std::string::npos) << narrow;
  EXPECT_NE(narrow.find("\n0 problems, 0 pieces of advice, 2 ok, 0 skipped\n"), std::string::npos);
}

// What stands there can be typed.
TEST(CheckReportTest, NothingIsTheSame) {
  for (const char* name : {"ordinary", "container"}) {
    const FakeHost fake(name);
    for (const Row& row : run_checks(input_for(fake))) {
      for (const std::string* text : {&row.fix, &row.persist, &row.undo}) {
        EXPECT_EQ(text->find("the same"), std::string::npos) << row.name << ": " << *text;
      }
    }
  }
}

TEST(CheckReportTest, JsonHasEveryRow) {
  const FakeHost fake("container");
  CheckInput input = input_for(fake);
  const auto rows = run_checks(input);
  const std::string json = check_json(rows);
  EXPECT_TRUE(json.starts_with("{\"ok\":false,\"counts\":{\"problem\":")) << json.substr(0, 60);
  std::size_t verdicts = 0;
  for (std::size_t at = 0; (at = json.find("\"verdict\":", at)) != std::string::npos; ++at) {
    ++verdicts;
  }
  EXPECT_EQ(verdicts, rows.size());
}

TEST(HostTest, ListsAndMasks) {
  EXPECT_EQ(parse_cpu_list("0-2,5"), (std::vector<int>{0, 1, 2, 5}));
  EXPECT_EQ(parse_cpu_list(""), std::vector<int>{});
  EXPECT_EQ(parse_cpu_list("x"), std::vector<int>{});
  EXPECT_EQ(parse_cpu_list("0-99999999"), std::vector<int>{});
  EXPECT_EQ(parse_cpu_mask("00000003"), (std::vector<int>{0, 1}));
  EXPECT_EQ(parse_cpu_mask("1,00000001"), (std::vector<int>{0, 32}));
  EXPECT_EQ(parse_cpu_mask("zz"), std::vector<int>{});
  EXPECT_EQ(format_cpu_list({0, 1, 2, 5, 7, 8}), "0-2,5,7-8");
  EXPECT_EQ(format_cpu_list({}), "none");
  EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
}

TEST(HostTest, WhatIsNotThereIsSaid) {
  const FakeHost fake("ordinary");
  const Host host = fake.host();
  EXPECT_EQ(host.read("/proc/none").problem, "there is no /proc/none here");
  EXPECT_FALSE(host.read("/proc").ok());  // a folder
  EXPECT_FALSE(host.field("/proc/self/status", "Cap").has_value());
  EXPECT_FALSE(host.network_counter("TcpExt", "Nothing").has_value());
  EXPECT_EQ(host.network_counter("TcpExt", "ListenDrops"), 4U);
  EXPECT_EQ(host.network_counter("IpExt", "OutOctets"), 200U);
  EXPECT_EQ(host.link_name("/sys/class/net/eth0/device"), "virtio3");
  EXPECT_EQ(host.process_limit("Max open files")->hard, 4096U);
  EXPECT_TRUE(host.names("/sys/nothing").empty());
}

}  // namespace
}  // namespace mxring::tune
