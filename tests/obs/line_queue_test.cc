// Lines from several threads: none is lost unless it was refused, each thread's in order; a full
// queue refuses at once; and a reader that has stopped holds up nobody.
#include "obs/line_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <string>
#include <thread>
#include <vector>

#include "obs/line_output.h"

namespace mxring::obs {
namespace {

TEST(LineQueueTest, EachThreadsLinesInOrderAndEveryOneCounted) {
  LineQueue queue(16);
  constexpr int kThreads = 3;
  constexpr int kEach = 20'000;
  std::atomic<int> running{kThreads};
  std::vector<std::uint64_t> refused(kThreads, 0);
  std::vector<std::jthread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        if (!queue.push(std::to_string(t) + " " + std::to_string(i))) ++refused[t];
      }
      running.fetch_sub(1);
    });
  }
  std::vector<int> last(kThreads, -1);
  std::uint64_t taken = 0;
  const auto take = [&](std::string_view line) {
    const int t = line[0] - '0';
    const int i = std::stoi(std::string(line.substr(2)));
    EXPECT_GT(i, last[t]);
    last[t] = i;
    ++taken;
  };
  while (running.load() != 0 || !queue.empty()) queue.pop(take);
  std::uint64_t dropped = 0;
  for (const std::uint64_t n : refused) dropped += n;
  EXPECT_EQ(dropped, queue.dropped());
  EXPECT_EQ(taken + dropped, std::uint64_t{kThreads} * kEach);
  EXPECT_EQ(queue.pushed(), queue.taken());
}

TEST(LineQueueTest, AFullQueueRefuses) {
  LineQueue queue(2);
  EXPECT_TRUE(queue.push("one"));
  EXPECT_TRUE(queue.push("two"));
  EXPECT_FALSE(queue.push("three"));
  EXPECT_EQ(queue.dropped(), 1U);
  std::string got;
  EXPECT_TRUE(queue.pop([&](std::string_view line) { got = line; }));
  EXPECT_EQ(got, "one");
  EXPECT_TRUE(queue.push("four"));
}

TEST(LineQueueTest, ALineThatIsTooLongIsCut) {
  LineQueue queue(1);
  queue.push(std::string(LineQueue::kLineBytesMax, 'a'));
  queue.pop([](std::string_view line) { EXPECT_EQ(line.find("..."), line.npos); });
  queue.push(std::string(LineQueue::kLineBytesMax + 1, 'a'));
  queue.pop([](std::string_view line) {
    EXPECT_EQ(line.size(), LineQueue::kLineBytesMax);
    EXPECT_TRUE(line.ends_with("a..."));
  });
}

struct Ends {
  int read_end = -1;
  int write_end = -1;
};

// A pipe or socket pair that has been filled to the last byte; the flags are as before.
Ends full(bool socket) {
  int ends[2] = {-1, -1};
  if (socket) {
    ::socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
  } else {
    EXPECT_EQ(::pipe(ends), 0);
  }
  const int flags = ::fcntl(ends[1], F_GETFL);
  ::fcntl(ends[1], F_SETFL, flags | O_NONBLOCK);
  while (::write(ends[1], "x", 1) == 1) {
  }
  ::fcntl(ends[1], F_SETFL, flags);
  return {ends[0], ends[1]};
}

class LineOutputTest : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(PipeAndSocket, LineOutputTest, testing::Bool());

TEST_P(LineOutputTest, AStoppedReaderIsLeftAtOnceAndItsFlagsAlone) {
  const Ends ends = full(GetParam());
  LineOutput output(ends.write_end);
  output.append(std::string(100'000, 'y'));
  EXPECT_EQ(output.flush(10), LineOutput::Flushed::kLater);
  EXPECT_EQ(output.pending(), 100'000U);
  EXPECT_EQ(::fcntl(ends.write_end, F_GETFL) & O_NONBLOCK, 0);

  // It reads on: everything comes, in pieces.
  std::jthread reader([&ends] {
    std::string bytes(4096, '\0');
    while (::read(ends.read_end, bytes.data(), bytes.size()) > 0) {
    }
  });
  for (int i = 0; i < 1000 && output.pending() != 0; ++i) output.flush(10);
  EXPECT_EQ(output.pending(), 0U);
  ::close(ends.write_end);
  reader.join();
  ::close(ends.read_end);
}

TEST_P(LineOutputTest, AReaderThatHasGoneIsSaid) {
  std::signal(SIGPIPE, SIG_IGN);
  const Ends ends = full(GetParam());
  ::close(ends.read_end);
  LineOutput output(ends.write_end);
  output.append("line\n");
  EXPECT_EQ(output.flush(10), LineOutput::Flushed::kBroken);
  EXPECT_EQ(output.pending(), 0U);
  ::close(ends.write_end);
}

TEST(LineOutputTest, ABlockedWriteIsInterrupted) {
  const Ends ends = full(false);
  LineOutput::prepare_interrupts();
  std::atomic<bool> ended{false};
  // What happens when another program has taken the room that poll(2) had seen.
  std::thread writer([&] {
    EXPECT_EQ(::write(ends.write_end, "z", 1), -1);
    EXPECT_EQ(errno, EINTR);
    ended = true;
  });
  for (int i = 0; i < 2000 && !ended; ++i) {
    LineOutput::interrupt(writer.native_handle());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(ended);
  if (!ended) ::close(ends.read_end);
  writer.join();
}

}  // namespace
}  // namespace mxring::obs
