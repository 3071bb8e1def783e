// Question: what does it cost to hand one element from a shard to the writer?
// Input: 16- and 64-byte elements through a queue of 1,024, pushed in batches (as one loop turn or
// one group commit does), producer pinned to the first processor we may use, consumer to the last.
// Unit: wall time of a batch until the other side has it (Time), and per_element of that.
// Compared: the same queue within one thread, which is the cost without moving cache lines.
#include <benchmark/benchmark.h>
#include <sched.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "spsc/queue.h"

namespace {

template <std::size_t Bytes>
struct Element {
  std::uint64_t number = 0;
  unsigned char rest[Bytes - sizeof(std::uint64_t)]{};
};

std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> processors;
  if (sched_getaffinity(0, sizeof set, &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(static_cast<std::size_t>(i), &set)) processors.push_back(i);
  }
  return processors;
}

void pin_to(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(processor), &set);
  sched_setaffinity(0, sizeof set, &set);
}

template <std::size_t Bytes>
void two_threads(benchmark::State& state) {
  const auto processors = allowed_processors();
  if (processors.size() < 2) {
    state.SkipWithError("needs two processors");
    return;
  }
  using Queue = mxring::spsc::Queue<Element<Bytes>>;
  Queue queue(1024);
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> consumed{0};
  std::thread consumer([&] {
    pin_to(processors.back());
    Element<Bytes> element;
    std::uint64_t expected = 0;
    while (!stop.load(std::memory_order_relaxed)) {
      while (queue.pop(element)) {
        if (element.number != expected++) std::abort();
      }
      consumed.store(expected, std::memory_order_release);
    }
  });
  cpu_set_t before;
  sched_getaffinity(0, sizeof before, &before);
  pin_to(processors.front());
  std::uint64_t number = 0;
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < batch; ++i) {
      while (!queue.push(Element<Bytes>{number})) {
      }
      ++number;
    }
    // A batch is done when the other side has it, as a commit waits for its acknowledgement.
    while (consumed.load(std::memory_order_acquire) != number) {
    }
  }
  stop = true;
  consumer.join();
  sched_setaffinity(0, sizeof before, &before);
  state.SetItemsProcessed(static_cast<std::int64_t>(number));
  state.counters["per_element"] = benchmark::Counter(
      static_cast<double>(number), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <std::size_t Bytes>
void one_thread(benchmark::State& state) {
  mxring::spsc::Queue<Element<Bytes>> queue(1024);
  const auto batch = static_cast<std::uint64_t>(state.range(0));
  std::uint64_t number = 0;
  Element<Bytes> element;
  for (auto _ : state) {
    for (std::uint64_t i = 0; i < batch; ++i) queue.push(Element<Bytes>{number++});
    while (queue.pop(element)) benchmark::DoNotOptimize(element);
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(number));
  state.counters["per_element"] = benchmark::Counter(
      static_cast<double>(number), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

BENCHMARK(two_threads<16>)->Arg(1)->Arg(8)->Arg(64)->Arg(512)->UseRealTime();
BENCHMARK(two_threads<64>)->Arg(1)->Arg(8)->Arg(64)->Arg(512)->UseRealTime();
BENCHMARK(one_thread<16>)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();
BENCHMARK(one_thread<64>)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

}  // namespace
