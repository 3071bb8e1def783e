// What holds of the DKIM verifier between two calls, broken piece by piece. What is inside it is
// told to nobody, so this is a copy of it.
#include <gtest/gtest.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsubobject-linkage"  // of a source that is included
#endif
#include "mailauth/dkim/verifier.cc"
#include "tests/support/broken_invariant.h"

namespace mxring::mailauth::dkim {
namespace {

MXRING_REVEAL(StateOf, &Verifier::state_);

TEST(DkimVerifierDeathTest, EachInvariantFires) {
  crypto::Sha256Batch hashes;
  const base::Limits limits;
  Verifier verifier(limits, hashes);
  verifier.begin("", {}, 1'700'000'000, {});
  auto& state = *(verifier.*member_of(StateOf{}));
  state.invariants();
  const auto expect = [&state](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      state.invariants();
    });
  };
  expect("undecided <= used && used <= limits.dkim_signatures", [&] { state.undecided = 1; });
  expect("used <= candidates.size() && candidates.size() == results.size()",
         [&] { state.used = state.candidates.size() + 1; });
  expect("missing <= questions.size() && near_questions <= questions.size()",
         [&] { state.near_questions = 1; });
  expect("answered.size() == questions.size() && questions.size() <= used",
         [&] { state.answered.push_back(false); });
  expect("limited_bodies <= kLimitedBodiesMax",
         [&] { state.limited_bodies = kLimitedBodiesMax + 1; });
  expect("missing == 0 || undecided != 0", [&] {
    state.used = 1;
    state.candidates.emplace_back();
    state.results.emplace_back();
    state.questions.push_back({*dns::Name::parse("s._domainkey.a.example"), dns::Type::kTxt});
    state.answered.push_back(false);
    state.missing = 1;
  });
}

}  // namespace
}  // namespace mxring::mailauth::dkim
