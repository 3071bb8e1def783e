// Several processes on one log: readers while a writer writes, and writers that are killed.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <random>
#include <thread>

#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

using std::chrono::milliseconds;

// Runs `body` in a child process, which exits with its result.
pid_t spawn(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::_exit(body());
}

int exit_code(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class ProcessTest : public LogTest {};

// Reads records from the first kept one up to `end`; 0 when every one was right.
int follow(const fs::path& directory, Offset end, bool retention) {
  for (int i = 0; i < 5000 && !fs::exists(directory / kStateName); ++i) {
    std::this_thread::sleep_for(milliseconds(1));
  }
  auto reader = LogReader::open(directory);
  if (!reader) return 2;
  Offset expected = 0;
  while (expected < end) {
    const auto record = reader->next();
    if (!record) {
      if (!retention || record.error().kind != LogErrorKind::kGone) return 3;
      expected = record.error().offset + record.error().records;
      continue;
    }
    if (!*record) {
      if (!reader->wait(milliseconds(20'000))) return 4;
      continue;
    }
    if ((*record)->offset != expected) return 5;
    if ((*record)->message != message_of(expected, 0)) return 6;
    ++expected;
  }
  return 0;
}

TEST_F(ProcessTest, TwoReadersWhileOneWrites) {
  constexpr Offset kEnd = 4000;
  std::vector<pid_t> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(spawn([this] { return follow(directory(), kEnd, false); }));
  }
  Writer writer = open_or_die(small());
  for (Offset next = 0; next < kEnd; next += 16) append(writer, 16);
  for (const pid_t reader : readers) EXPECT_EQ(exit_code(reader), 0);
  EXPECT_GT(writer.totals().segments_rolled, 10U);
}

TEST_F(ProcessTest, TwoReadersWhileRetentionTakesSegmentsAway) {
  constexpr Offset kEnd = 6000;
  std::vector<pid_t> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(spawn([this] { return follow(directory(), kEnd, true); }));
  }
  WriterOptions options = small();
  options.retain_bytes = 130 << 10;
  Writer writer = open_or_die(options);
  for (Offset next = 0; next < kEnd; next += 12) append(writer, 12);
  for (const pid_t reader : readers) EXPECT_EQ(exit_code(reader), 0);
}

// Commits batches until it is killed; after each it tells the pipe the next offset.
int write_until_killed(const WriterOptions& options, int pipe, std::uint64_t seed) {
  auto writer = Writer::open(options);
  if (!writer) return 2;
  std::mt19937_64 random(seed);
  while (true) {
    const Batch batch(writer->next_offset(), 1 + random() % 20);
    if (!writer->commit(batch.records())) return 3;
    const Offset next = writer->next_offset();
    if (::write(pipe, &next, sizeof next) != sizeof next) return 4;
  }
}

TEST_F(ProcessTest, KilledAtRandomMomentsNothingAcknowledgedIsLost) {
  constexpr int kRounds = 40;
  std::mt19937_64 random(20261122);
  WriterOptions options = small();
  options.retain_bytes = 400 << 10;
  Offset told = 0;
  for (int round = 0; round < kRounds; ++round) {
    int pipe[2];
    ASSERT_EQ(::pipe(pipe), 0);
    const std::uint64_t seed = random();
    const pid_t child = spawn([&] {
      ::close(pipe[0]);
      return write_until_killed(options, pipe[1], seed);
    });
    ::close(pipe[1]);
    const auto take = [&] {
      Offset next = 0;
      const bool got = ::read(pipe[0], &next, sizeof next) == sizeof next;
      if (got) told = next;
      return got;
    };
    ASSERT_TRUE(take()) << "the child ended by itself: " << exit_code(child);
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 25'000));
    ::kill(child, SIGKILL);
    EXPECT_EQ(exit_code(child), -1);
    while (take()) {
    }
    ::close(pipe[0]);

    const Reading reading = read_all(directory());
    ASSERT_TRUE(reading.errors.empty()) << "round " << round << ": " << reading.errors[0].message;
    ASSERT_GE(reading.end, told) << "round " << round;
    expect_messages(reading, reading.first, reading.end);
    if (HasFailure()) return;
  }
  Writer writer = open_or_die(options);
  EXPECT_GE(writer.next_offset(), told);
  EXPECT_EQ(writer.recovery().damaged_records, 0U);
}

TEST_F(ProcessTest, TheLockIsReleasedByDeathAndToldToReaders) {
  int pipe[2];
  ASSERT_EQ(::pipe(pipe), 0);
  const pid_t child = spawn([&] { return write_until_killed(small(), pipe[1], 1); });
  Offset next = 0;
  ASSERT_EQ(::read(pipe[0], &next, sizeof next), static_cast<ssize_t>(sizeof next));
  const auto refused = Writer::open(small());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().kind, OpenErrorKind::kLocked);
  EXPECT_NE(refused.error().message.find(std::to_string(child)), std::string::npos);
  ::kill(child, SIGKILL);
  exit_code(child);
  ::close(pipe[0]);
  ::close(pipe[1]);
  EXPECT_TRUE(Writer::open(small()));
}

}  // namespace
}  // namespace mxring::seglog::test
