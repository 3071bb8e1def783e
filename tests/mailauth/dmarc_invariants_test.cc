// What holds of the machine inside the DMARC evaluator between two calls, broken piece by piece.
#include <gtest/gtest.h>

#include "mailauth/dmarc/machine.h"
#include "tests/support/broken_invariant.h"

namespace mxring::mailauth::dmarc {
namespace {

void expect(const char* condition, void (*break_it)(Machine&)) {
  const base::Limits limits;
  Machine machine(limits);
  machine.invariants();
  test::expect_fires(condition, [&] {
    break_it(machine);
    machine.invariants();
  });
}

TEST(DmarcMachineDeathTest, EachInvariantFires) {
  expect("round.missing <= wanted.size()", [](Machine& m) { m.round.missing = 1; });
  expect("asked.size() <= limits.dns_questions",
         [](Machine& m) { m.asked.resize(m.limits.dns_questions + 1); });
  expect("round.expected_count <= expected.size()", [](Machine& m) { m.round.expected_count = 1; });
  expect("round.identifier_count <= identifiers.size()",
         [](Machine& m) { m.round.identifier_count = 1; });
  expect("round.identifier_count == 0 || round.authenticated", [](Machine& m) {
    m.identifiers.emplace_back();
    m.round.identifier_count = 1;
  });
  expect("round.missing == 0 || (!round.gave_up && round.stage != Stage::kDone)", [](Machine& m) {
    m.wanted.push_back({*dns::Name::parse("_dmarc.a.example"), dns::Type::kTxt});
    m.round.missing = 1;
    m.round.gave_up = true;
  });
  expect("round.stage != Stage::kDiscovered || round.applied != nullptr",
         [](Machine& m) { m.round.stage = Machine::Stage::kDiscovered; });
  expect("!outcome.not_asked || outcome.result == Result::kTemperror", [](Machine& m) {
    m.outcome.not_asked = true;
    m.outcome.result = Result::kPass;
  });
  expect(
      "outcome.result != Result::kPass || "
      "(outcome.record_found && !(outcome.aligned_spf.empty() && outcome.aligned_dkim.empty()))",
      [](Machine& m) { m.outcome.result = Result::kPass; });
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
