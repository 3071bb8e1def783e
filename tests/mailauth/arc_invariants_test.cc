// What holds of the ARC verifier between two calls, broken piece by piece. What is inside it is
// told to nobody, so this is a copy of it.
#include <gtest/gtest.h>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsubobject-linkage"  // of a source that is included
#endif
#include "mailauth/arc/verifier.cc"
#include "tests/support/broken_invariant.h"

namespace mxring::mailauth::arc {
namespace {

MXRING_REVEAL(StateOf, &Verifier::state_);

TEST(ArcVerifierDeathTest, EachInvariantFires) {
  crypto::Sha256Batch hashes;
  const base::Limits limits;
  Verifier verifier(limits, hashes);
  verifier.begin("", {}, 1'700'000'000);
  auto& state = *(verifier.*member_of(StateOf{}));
  state.invariants();
  const auto expect = [&state](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      state.invariants();
    });
  };
  expect("used <= kProofsMax && used <= proofs.size()",
         [&] { state.used = state.proofs.size() + 1; });
  expect("questions.size() <= kKeyNamesMax && answered.size() == questions.size()",
         [&] { state.answered.push_back(false); });
  expect("missing <= questions.size() && (missing == 0 || running())", [&] { state.missing = 1; });
  expect("buffer_used <= buffer_bytes", [&] { state.buffer_used = state.buffer_bytes + 1; });
  expect("outcome.reason.empty() == (outcome.result != Result::kFail)",
         [&] { state.outcome.reason = "why not"; });
}

}  // namespace
}  // namespace mxring::mailauth::arc
