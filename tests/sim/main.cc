// mxring_sim: lives the receiver, one life a seed, each in a child process of its own.
//
//   mxring_sim --seeds N [--from S] [--jobs J]   N lives
//   mxring_sim --hours H [--from S] [--jobs J]   as many as go into that time
//   mxring_sim --seed S [--trace]                one, with a readable trace on stderr
//   mxring_sim --minimise S                      the same finding with less
//
// With --probes it says at the end which situations never happened (base/probe.h).
//
// Exit: 0 all lives were good; 1 one was not, and the command that replays it is printed; 2 usage.
#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assertion_hook.h"
#include "tests/sim/life.h"
#include "tests/sim/points.h"

namespace mxring::sim {

namespace {

int g_report_fd = -1;  // of a child: what it has to say

struct Result {
  bool good = false;
  LifeReport report;
  std::string finding;
};

void tell(std::string_view text) {
  [[maybe_unused]] const ssize_t written = ::write(g_report_fd, text.data(), text.size());
}

// CPU time in which a life must take a step: nothing the receiver does takes as long.
constexpr int kStuckSeconds = 10;
std::uint64_t g_switches_seen = 0;

void on_timer(int) {
  const World* world = World::current();
  if (world == nullptr) return;
  if (world->switches() != g_switches_seen) {
    g_switches_seen = world->switches();
    return;
  }
  keep_probes();
  tell("bad a turn does not end: nothing but computing for seconds of CPU time\n");
  ::_exit(1);
}

void on_assertion(const char* condition, const char* file, int line) noexcept {
  convict(fmt::format("assertion {} fails at {}:{}", condition, file, line));
}

[[noreturn]] void live(const LifeOptions& options) {
  base::set_assertion_hook(&on_assertion);
  std::signal(SIGVTALRM, &on_timer);
  const itimerval every{{kStuckSeconds, 0}, {kStuckSeconds, 0}};
  ::setitimer(ITIMER_VIRTUAL, &every, nullptr);
  // Not destroyed: what was killed in it cannot be.
  auto* life = new Life(options);
  const LifeReport report = life->run();
  keep_probes();
  tell(fmt::format("good {} {} {} {} {}\n", report.hash, report.simulated, report.accepted,
                   report.connections, report.restarts));
  ::_exit(0);
}

struct Child {
  pid_t pid = -1;
  int fd = -1;
  std::uint64_t seed = 0;
};

Child begin(const LifeOptions& options) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    g_report_fd = ends[1];
    live(options);
  }
  ::close(ends[1]);
  return {pid, ends[0], options.seed};
}

Result finish(const Child& child) {
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = ::read(child.fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(child.fd);
  int status = 0;
  ::waitpid(child.pid, &status, 0);
  Result result;
  LifeReport& report = result.report;
  result.good =
      std::sscanf(text.c_str(), "good %lu %ld %lu %lu %lu", &report.hash, &report.simulated,
                  &report.accepted, &report.connections, &report.restarts) == 5;
  if (result.good) return result;
  result.finding = text.starts_with("bad ") ? text.substr(4) : std::string();
  while (result.finding.ends_with('\n')) result.finding.pop_back();
  if (result.finding.empty()) {
    result.finding = WIFSIGNALED(status)
                         ? fmt::format("dies of signal {}", WTERMSIG(status))
                         : fmt::format("ends with {} and no word", WEXITSTATUS(status));
  }
  return result;
}

Result one(const LifeOptions& options) {
  return finish(begin(options));
}

struct Wanted {
  std::uint64_t from = 1;
  std::uint64_t seeds = 100;
  double hours = 0;
  unsigned jobs = 2;
  bool keep_going = false;
  bool probes = false;
};

void say_probes() {
  const std::vector<std::string> missed = probes_missed();
  fmt::print("{} of {} situations have happened\n", probes_known() - missed.size(), probes_known());
  for (const std::string& name : missed) fmt::print("  never: {}\n", name);
}

int many(const Wanted& wanted) {
  const auto begun = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  };
  std::vector<Child> children;
  std::uint64_t next = wanted.from;
  std::uint64_t lives = 0;
  std::uint64_t findings = 0;
  LifeReport sum;
  const auto more = [&] {
    if (findings > 0 && !wanted.keep_going) return false;
    if (wanted.hours > 0) return passed() < wanted.hours * 3600;
    return next < wanted.from + wanted.seeds;
  };
  while (more() || !children.empty()) {
    while (children.size() < wanted.jobs && more()) {
      children.push_back(begin({.seed = next++}));
    }
    // In the order of the seeds, so that the sum of the traces does not depend on the machine.
    const Child child = children.front();
    children.erase(children.begin());
    const Result result = finish(child);
    ++lives;
    if (!result.good) {
      ++findings;
      fmt::print("seed {}: {}\n  replay: mxring_sim --seed {} --trace\n", child.seed,
                 result.finding, child.seed);
      continue;
    }
    sum.hash = (sum.hash ^ result.report.hash) * 0x100000001B3ULL;
    sum.simulated += result.report.simulated;
    sum.accepted += result.report.accepted;
    sum.connections += result.report.connections;
    sum.restarts += result.report.restarts;
  }
  const double simulated = static_cast<double>(sum.simulated) / 1e9;
  fmt::print("{} lives, {} findings; {} connections, {} messages accepted, {} restarts\n", lives,
             findings, sum.connections, sum.accepted, sum.restarts);
  fmt::print("{:.0f} simulated seconds in {:.1f} s: {:.0f} a second\n", simulated, passed(),
             simulated / passed());
  if (wanted.probes) say_probes();
  fmt::print("trace {:016x}\n", sum.hash);
  return findings == 0 ? 0 : 1;
}

int single(const LifeOptions& options) {
  const Result result = one(options);
  if (!result.good) {
    fmt::print("seed {}: {}\n", options.seed, result.finding);
    return 1;
  }
  fmt::print("{} messages accepted, {} connections, {} restarts, {:.0f} simulated seconds\n",
             result.report.accepted, result.report.connections, result.report.restarts,
             static_cast<double>(result.report.simulated) / 1e9);
  fmt::print("trace {:016x}\n", result.report.hash);
  return 0;
}

// Takes away kinds of fault and clients as long as the life stays bad.
int minimise(LifeOptions options) {
  Result worst = one(options);
  if (worst.good) {
    fmt::print("seed {} is good\n", options.seed);
    return 1;
  }
  for (std::uint64_t bit = 0; bit < kFaultKinds; ++bit) {
    LifeOptions less = options;
    less.faults &= ~(std::uint64_t{1} << bit);
    if (less.faults == options.faults) continue;
    const Result result = one(less);
    if (!result.good) options = less, worst = result;
  }
  for (std::uint64_t clients = 0; clients < 17; ++clients) {
    LifeOptions less = options;
    less.clients_max = clients;
    const Result result = one(less);
    if (result.good) continue;
    options = less;
    worst = result;
    break;
  }
  fmt::print("{}\n  replay: mxring_sim --seed {} --faults {} --clients {} --trace\n", worst.finding,
             options.seed, options.faults & ((1U << kFaultKinds) - 1), options.clients_max);
  return 0;
}

int usage() {
  fmt::print(stderr,
             "usage: mxring_sim --seeds N | --hours H | --seed S [--trace] | --minimise S\n"
             "                  [--from S] [--jobs J] [--keep-going] [--probes] "
             "[--faults BITS] [--clients N]\n");
  return 2;
}

}  // namespace

void convict(const std::string& what) {
  if (World* world = World::current()) world->trace("JUDGE: " + what);
  keep_probes();
  tell("bad " + what + "\n");
  ::_exit(1);
}

int run(int count, char** words) {
  Wanted wanted;
  LifeOptions options;
  enum class Mode { kNone, kMany, kSingle, kMinimise } mode = Mode::kNone;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const auto value = [&] { return i + 1 < count ? std::string(words[++i]) : std::string("0"); };
    if (word == "--trace") {
      options.readable = true;
    } else if (word == "--keep-going") {
      wanted.keep_going = true;
    } else if (word == "--probes") {
      wanted.probes = true;
    } else if (word == "--seeds") {
      wanted.seeds = std::stoull(value());
      mode = Mode::kMany;
    } else if (word == "--hours") {
      wanted.hours = std::stod(value());
      mode = Mode::kMany;
    } else if (word == "--from") {
      wanted.from = std::stoull(value());
    } else if (word == "--jobs") {
      wanted.jobs = static_cast<unsigned>(std::stoul(value()));
    } else if (word == "--seed") {
      options.seed = std::stoull(value());
      mode = Mode::kSingle;
    } else if (word == "--minimise") {
      options.seed = std::stoull(value());
      mode = Mode::kMinimise;
    } else if (word == "--faults") {
      options.faults = std::stoull(value());
    } else if (word == "--clients") {
      options.clients_max = std::stoull(value());
    } else {
      return usage();
    }
  }
  share_probes();
  switch (mode) {
    case Mode::kMany:
      return many(wanted);
    case Mode::kSingle:
      return single(options);
    case Mode::kMinimise:
      return minimise(options);
    case Mode::kNone:
      break;
  }
  return usage();
}

}  // namespace mxring::sim

int main(int count, char** words) {
  return mxring::sim::run(count, words);
}
