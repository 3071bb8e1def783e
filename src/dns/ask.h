// The one loop that asks until machines without I/O are done, for commands and tests.
//
// Such a machine says by step() whether it is done, by questions() what it must know to go on, is
// told by supply(), and finishes with what it has after give_up().
//
// Thread: one; it blocks. Never on a shard, where answers come as events.
#pragma once

#include <algorithm>
#include <concepts>
#include <span>
#include <vector>

#include "base/clock.h"
#include "dns/blocking.h"

namespace mxring::dns {

template <typename Machine>
concept Asks = requires(Machine& machine, const Question& question, const AnswerPtr& answer) {
  { machine.step() } -> std::same_as<bool>;
  { machine.questions() } -> std::convertible_to<std::span<const Question>>;
  machine.supply(question, answer);
  machine.give_up();
};

// Each question once, whoever asks it; those that are not done `time_ns` after `started` give up.
// A round that is under way then is waited for: the client's own timeout bounds it.
template <Asks Machine>
void ask_until_done(std::span<Machine* const> machines, BlockingResolver& resolver,
                    base::MonoTime started, std::int64_t time_ns) {
  std::vector<Question> questions;
  for (;;) {
    questions.clear();
    for (Machine* machine : machines) {
      if (machine->step()) continue;
      for (const Question& question : machine->questions()) {
        if (std::ranges::find(questions, question) == questions.end()) {
          questions.push_back(question);
        }
      }
    }
    if (questions.empty()) return;
    if (base::read_clocks().mono - started >= time_ns) break;
    const std::vector<AnswerPtr> answers = resolver.ask_all(questions);
    for (std::size_t i = 0; i < questions.size(); ++i) {
      // Each takes only what it asked for.
      for (Machine* machine : machines) machine->supply(questions[i], answers[i]);
    }
  }
  for (Machine* machine : machines) {
    if (machine->step()) continue;
    machine->give_up();
    machine->step();
  }
}

template <Asks Machine>
void ask_until_done(Machine& machine, BlockingResolver& resolver, base::MonoTime started,
                    std::int64_t time_ns) {
  Machine* const one = &machine;
  ask_until_done(std::span<Machine* const>(&one, 1), resolver, started, time_ns);
}

}  // namespace mxring::dns
