#include "tune/measure.h"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/assert.h"
#include "base/clock.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"

namespace mxring::tune {

namespace {

std::int64_t mono_ns() {
  return base::read_clocks().mono.ns;
}

// The smallest of a few goes: the host's other work only ever adds.
template <class Work>
std::int64_t least_ns(int goes, Work&& work) {
  MXRING_ASSERT(goes > 0);
  std::int64_t least = INT64_MAX;
  for (int i = 0; i < goes; ++i) {
    const std::int64_t begin = mono_ns();
    work();
    least = std::min(least, mono_ns() - begin);
  }
  MXRING_ASSERT(least >= 0);
  return least;
}

// A chain of multiplications that the compiler cannot shorten; about a third of a millisecond.
std::uint64_t fixed_work(std::uint64_t seed) {
  for (int i = 0; i < 100'000; ++i) seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
  return seed;
}

volatile std::uint64_t g_sink;  // keeps the results of measured work alive

// Reads one word of random 4 KiB pages, each address from the word before: no two overlap.
double random_read_ns(int advice, std::string& problem) {
  constexpr std::size_t kBytes = std::size_t{64} << 20;
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  constexpr std::size_t kPage = 4096;
  static_assert(kBytes % kPage == 0 && kHuge % kPage == 0 && (kHuge & (kHuge - 1)) == 0);
  constexpr int kReads = 200'000;
  void* mapping =
      ::mmap(nullptr, kBytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) {
    problem = fmt::format("no memory to measure with: {}", std::strerror(errno));
    return 0;
  }
  const auto address = (reinterpret_cast<std::uintptr_t>(mapping) + kHuge - 1) & ~(kHuge - 1);
  MXRING_ASSERT(address % kHuge == 0);
  auto* memory = reinterpret_cast<char*>(address);
  double ns = 0;
  if (::madvise(memory, kBytes, advice) != 0) {
    problem = fmt::format("the kernel does not let a program choose: {}", std::strerror(errno));
  } else {
    // One cycle through all pages (Sattolo), the next page's number in each.
    constexpr std::size_t kPages = kBytes / kPage;
    std::vector<std::uint32_t> order(kPages);
    for (std::uint32_t i = 0; i < kPages; ++i) order[i] = i;
    std::uint64_t random = 1;
    for (std::size_t i = kPages - 1; i > 0; --i) {
      random = random * 6364136223846793005ULL + 1442695040888963407ULL;
      std::swap(order[i], order[(random >> 33) % i]);
    }
    // Not always at a page's first line: those would share few of the cache's sets.
    const auto slot = [&](std::uint32_t page) {
      return memory + page * kPage + (page % (kPage / 64)) * 64;
    };
    for (std::uint32_t i = 0; i < kPages; ++i) std::memcpy(slot(i), &order[i], sizeof order[i]);
    std::uint32_t at = 0;
    ns = static_cast<double>(least_ns(5,
                                      [&] {
                                        for (int i = 0; i < kReads; ++i)
                                          std::memcpy(&at, slot(at), sizeof at);
                                        g_sink = at;
                                      })) /
         kReads;
  }
  ::munmap(mapping, kBytes + kHuge);
  return ns;
}

}  // namespace

void measure_clock(Measured& out) {
  constexpr int kReadings = 20'000;
  out.clock_ns = least_ns(5,
                          [] {
                            for (int i = 0; i < kReadings; ++i)
                              g_sink = static_cast<std::uint64_t>(mono_ns());
                          }) /
                 kReadings / 2;  // read_clocks() reads two
  out.system_call_ns = least_ns(5,
                                [] {
                                  for (int i = 0; i < kReadings; ++i) {
                                    g_sink = static_cast<std::uint64_t>(::syscall(SYS_getppid));
                                  }
                                }) /
                       kReadings;
  MXRING_ASSERT(out.clock_ns >= 0 && out.system_call_ns >= 0);
  timex state{};
  out.clock_synchronised = ::adjtimex(&state) >= 0 && (state.status & STA_UNSYNC) == 0;
}

void measure_pages(Measured& out) {
  out.page_small_ns = random_read_ns(MADV_NOHUGEPAGE, out.pages_skipped);
  if (out.pages_skipped.empty())
    out.page_huge_ns = random_read_ns(MADV_HUGEPAGE, out.pages_skipped);
}

void measure_waking(Measured& out) {
  constexpr int kGoes = 15;
  static_assert(kGoes % 2 == 1, "one is the median");
  constexpr auto kIdle = std::chrono::milliseconds(15);
  std::array<std::int64_t, kGoes> woken{};
  out.busy_ns = static_cast<double>(least_ns(40, [] { g_sink = fixed_work(g_sink); }));
  for (std::int64_t& ns : woken) {
    std::this_thread::sleep_for(kIdle);
    ns = least_ns(1, [] { g_sink = fixed_work(g_sink); });
  }
  MXRING_ASSERT(out.busy_ns >= 0);
  std::ranges::nth_element(woken, woken.begin() + kGoes / 2);
  out.woken_ns = static_cast<double>(woken[kGoes / 2]);
}

void measure_ring(const MeasureOptions& options, Measured& out) {
  const std::int64_t begin = mono_ns();
  auto ring = uring::Ring::create({}, nullptr);
  if (!ring) {
    out.ring_problem = ring.error().message;
    return;
  }
  uring::BufferPool::Options pool;
  pool.buffer_bytes = options.buffer_bytes;
  pool.offered = options.buffers_offered;
  const auto buffers = uring::BufferPool::create(*ring, pool);
  if (!buffers) {
    out.ring_problem = buffers.error().message;
    return;
  }
  out.ring_ns = mono_ns() - begin;
}

Measured measure(const MeasureOptions& options,
                 const std::function<void(std::string_view)>& doing) {
  Measured out;
  const auto say = [&doing](std::string_view step) {
    if (doing) doing(step);
  };
  say("clock and system calls");
  measure_clock(out);
  say("a shard's ring");
  measure_ring(options, out);
  say("memory pages");
  measure_pages(out);
  say("waking");
  measure_waking(out);
  say("a burst of connections");
  measure_burst(options, out);
  say("commits to the disk");
  if (options.disk) {
    measure_commits(options, out);
  } else {
    out.commits_skipped = "not asked for (--no-disk)";
  }
  return out;
}

}  // namespace mxring::tune
