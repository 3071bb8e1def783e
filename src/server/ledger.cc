#include "server/ledger.h"

#include <fmt/format.h>

#include <ctime>
#include <iterator>

#include "base/assert.h"
#include "base/json.h"

namespace mxring::server {

namespace {

double us_per_message(std::uint64_t ns, const Ledger& ledger) {
  return ledger.messages == 0
             ? 0
             : static_cast<double>(ns) / 1000 / static_cast<double>(ledger.messages);
}

}  // namespace

Ledger make_ledger(const obs::CounterRegistry& counters, std::uint64_t process_cpu_ns) {
  using obs::Counter;
  Ledger ledger{.lines = {{"receive", counters.sum(Counter::kStageReceiveNs)},
                          {"parse", counters.sum(Counter::kStageParseNs)},
                          {"evaluate", counters.sum(Counter::kStageEvaluateNs)},
                          {"hash", counters.sum(Counter::kStageHashNs)},
                          {"commit", counters.sum(Counter::kStageCommitNs)},
                          {"reply", counters.sum(Counter::kStageReplyNs)}}};
  for (const Ledger::Line& line : ledger.lines) ledger.stages_ns += line.ns;
  ledger.process_ns = process_cpu_ns;
  ledger.messages =
      counters.sum(Counter::kMessagesAccepted) + counters.sum(Counter::kMessagesRefused);
  ledger.turns = counters.sum(Counter::kTurnsMeasured);
  return ledger;
}

std::string ledger_table(const Ledger& ledger) {
  std::string out = fmt::format(
      "CPU by stage, {} messages, {} measured turns{}\n", ledger.messages, ledger.turns,
      ledger.enough() ? "" : fmt::format(" (no shares below {})", Ledger::kTurnsWanted));
  auto at = std::back_inserter(out);
  const auto row = [&](const char* name, std::uint64_t ns) {
    fmt::format_to(at, "  {:<10}{:>10.2f} us a message", name, us_per_message(ns, ledger));
    if (ledger.enough() && ledger.process_ns != 0) {
      fmt::format_to(at, " {:>6.1f} %",
                     100 * static_cast<double>(ns) / static_cast<double>(ledger.process_ns));
    }
    out += '\n';
  };
  for (const Ledger::Line& line : ledger.lines) row(line.stage, line.ns);
  row("sum", ledger.stages_ns);
  row("process", ledger.process_ns);
  return out;
}

std::string ledger_json(const Ledger& ledger) {
  base::JsonWriter json;
  json.begin_object();
  json.key("messages").value(ledger.messages);
  json.key("process_us_per_message").value(us_per_message(ledger.process_ns, ledger));
  json.key("stages_us_per_message").begin_object();
  for (const Ledger::Line& line : ledger.lines) {
    json.key(line.stage).value(us_per_message(line.ns, ledger));
  }
  json.end_object();
  json.key("measured_turns").value(ledger.turns);
  json.key("measured_turns_wanted").value(Ledger::kTurnsWanted).end_object();
  return std::move(json).text();
}

namespace {

std::uint64_t cpu_ns(clockid_t clock) {
  timespec used{};
  clock_gettime(clock, &used);
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(used.tv_nsec);
}

}  // namespace

std::uint64_t process_cpu_ns() {
  return cpu_ns(CLOCK_PROCESS_CPUTIME_ID);
}
std::uint64_t thread_cpu_ns() {
  return cpu_ns(CLOCK_THREAD_CPUTIME_ID);
}

}  // namespace mxring::server
