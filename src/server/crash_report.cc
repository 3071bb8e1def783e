#include "server/crash_report.h"

#include <execinfo.h>
#include <fmt/format.h>
#include <link.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <string_view>

#include "base/assertion_hook.h"
#include "base/clock.h"
#include "server/confinement.h"
#include "server/journal_line.h"

namespace mxring::server::crash_report {

namespace {

constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
constexpr std::size_t kFramesMax = 48;
constexpr std::size_t kModulesMax = 64;
constexpr std::size_t kShardsMax = 256;
constexpr int kReaderMs = 100;

// What is loaded, noted at the start: asking the loader takes its lock.
struct Module {
  std::uintptr_t base = 0;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  char name[128] = {};
};

struct State {
  std::array<Module, kModulesMax> modules;
  std::size_t module_count = 0;
  std::array<std::atomic<const obs::TurnRing*>, kShardsMax> shards{};
  std::atomic<int> journal_fd{-1};
  JournalFormat format = JournalFormat::kJson;
  std::uint64_t run = 0;
  char assertion[256] = {};
  std::atomic<bool> reporting{false};
};
State state;

void write_bounded(int fd, std::string_view text) {
  pollfd waiting{fd, POLLOUT, 0};
  if (::poll(&waiting, 1, kReaderMs) <= 0) return;
  [[maybe_unused]] const ssize_t written = ::write(fd, text.data(), text.size());
}

void say(std::string_view words) {
  std::array<char, kJournalLineBytesMin + 1> line{};
  const int journal = state.journal_fd.load(std::memory_order_acquire);  // pairs with use_journal()
  if (journal >= 0) {
    JournalLine notice;
    notice.time = base::read_clocks().wall;
    notice.text = words;
    const std::size_t size =
        write_line(notice, state.format, state.run, std::span(line).first(kJournalLineBytesMin));
    line[size] = '\n';
    write_bounded(journal, {line.data(), size + 1});
    if (journal == STDERR_FILENO) return;
  }
  const auto end = fmt::format_to_n(line.begin(), line.size(), "mxring: {}\n", words);
  write_bounded(STDERR_FILENO, {line.data(), std::min(end.size, line.size())});
}

template <class... Arguments>
void say_formatted(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  std::array<char, 400> words{};
  const auto end =
      fmt::format_to_n(words.begin(), words.size(), format, std::forward<Arguments>(arguments)...);
  say({words.data(), std::min(end.size, words.size())});
}

std::string_view name_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return "SIGSEGV";
    case SIGBUS:
      return "SIGBUS";
    case SIGFPE:
      return "SIGFPE";
    case SIGILL:
      return "SIGILL";
    default:
      return "SIGABRT";
  }
}

void say_frame(std::size_t number, std::uintptr_t address) {
  for (std::size_t i = 0; i < state.module_count; ++i) {
    const Module& module = state.modules[i];
    if (address < module.begin || address >= module.end) continue;
    return say_formatted("fatal: #{} {} +{:#x}", number, std::string_view(module.name),
                         address - module.base);
  }
  say_formatted("fatal: #{} {:#x}", number, address);
}

void say_turns() {
  const std::int64_t now = base::read_clocks().mono.ns;
  for (std::size_t shard = 0; shard < kShardsMax; ++shard) {
    const obs::TurnRing* ring = state.shards[shard].load(std::memory_order_acquire);
    if (ring == nullptr) continue;
    obs::TurnRing::Turn turn;
    for (std::size_t back = 0; back < obs::TurnRing::kTurns && ring->at(back, turn); ++back) {
      say_formatted("fatal: shard-{} turn {}: {} us ago, {} completions, {} connections", shard,
                    turn.number, (now - turn.began_ns) / 1000, turn.completions, turn.connections);
    }
  }
}

void report(int signal, siginfo_t* info, void*) {
  if (!state.reporting.exchange(true)) {
    char thread[16] = {};
    ::prctl(PR_GET_NAME, thread, 0, 0, 0);
    say_formatted("fatal: {} in {} at {}; what was acknowledged is durable; please report this",
                  name_of(signal), std::string_view(thread), fmt::ptr(info->si_addr));
    if (state.assertion[0] != '\0') {
      say_formatted("fatal: assertion failed: {}", std::string_view(state.assertion));
    }
    std::array<void*, kFramesMax> frames{};
    const int count = ::backtrace(frames.data(), static_cast<int>(frames.size()));
    for (int i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      say_frame(at, reinterpret_cast<std::uintptr_t>(frames[at]));
    }
    say_turns();
  }
  // SA_RESETHAND: this time it takes its course.
  ::syscall(SYS_tgkill, ::getpid(), static_cast<pid_t>(::syscall(SYS_gettid)), signal);
}

int note_module(dl_phdr_info* info, std::size_t, void*) {
  if (state.module_count == kModulesMax) return 1;
  Module& module = state.modules[state.module_count++];
  module.base = info->dlpi_addr;
  module.begin = UINTPTR_MAX;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const ElfW(Phdr)& header = info->dlpi_phdr[i];
    if (header.p_type != PT_LOAD) continue;
    const std::uintptr_t begin = module.base + header.p_vaddr;
    module.begin = std::min(module.begin, begin);
    module.end = std::max(module.end, begin + header.p_memsz);
  }
  const std::string_view path = info->dlpi_name[0] == '\0' ? "mxring" : info->dlpi_name;
  const std::string_view name = path.substr(path.rfind('/') + 1);
  name.copy(module.name, sizeof module.name - 1);
  return 0;
}

void note_assertion(const char* condition, const char* file, int line) noexcept {
  const auto end = fmt::format_to_n(state.assertion, sizeof state.assertion - 1, "{} ({}:{})",
                                    condition, file, line);
  *end.out = '\0';
}

}  // namespace

void install() {
  if (kSanitized) return;
  ::dl_iterate_phdr(note_module, nullptr);
  // The first call loads a library; in the handler that would be too late.
  void* frame = nullptr;
  ::backtrace(&frame, 1);
  base::set_assertion_hook(note_assertion);
  struct sigaction action {};
  action.sa_sigaction = report;
  action.sa_flags = SA_SIGINFO | static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

void use_journal(int fd, JournalFormat format, std::uint64_t run) {
  state.format = format;
  state.run = run;
  state.journal_fd.store(fd, std::memory_order_release);  // pairs with the load in say()
}

void watch(std::uint32_t shard, const obs::TurnRing* ring) {
  if (shard < kShardsMax) state.shards[shard].store(ring, std::memory_order_release);
}

void forget(std::uint32_t shard) {
  watch(shard, nullptr);
}

}  // namespace mxring::server::crash_report
