// Two marks for the simulator (tests/sim), in the code they are about.
//
//   MXRING_PROBE("a message is given up for memory");
//     This situation must have happened in a long enough simulation, which lists those that have
//     not. One load of a static byte, and one store the first time.
//
//   if (MXRING_BUGGIFY("the window is closed early", 100)) ...
//     Something unusual and allowed, which the simulator may ask for there: so many times in a
//     thousand, in the lives whose seed has chosen the point. False everywhere else, for one load
//     of a pointer that is never set.
//
// Each name is used once. Not in templates and not in headers: there the same place would be listed
// once for each of its copies, or not be a place at all.
//
// Thread: any. Failure: none.
#pragma once

#include <atomic>

namespace mxring::base {

struct Probe {
  const char* name;
  std::atomic<bool> reached{false};  // relaxed: it orders nothing

  void reach() {
    if (!reached.load(std::memory_order_relaxed)) reached.store(true, std::memory_order_relaxed);
  }
};

// Set by the simulator before the first thread starts, and by nobody else.
using BuggifyHook = bool (*)(const char* point, unsigned permille);
inline constinit BuggifyHook buggify_hook = nullptr;

inline bool in_simulation() {
  return __builtin_expect(buggify_hook != nullptr, 0);
}

}  // namespace mxring::base

// The linker gathers the addresses of all probes; __start_mxring_probes is the first of them.
#define MXRING_PROBE(text)                                                           \
  do {                                                                               \
    static constinit ::mxring::base::Probe mxring_probe{text};                       \
    [[gnu::section("mxring_probes"),                                                 \
      gnu::used]] static ::mxring::base::Probe* const mxring_listed = &mxring_probe; \
    mxring_probe.reach();                                                            \
  } while (false)

#define MXRING_BUGGIFY(text, permille)                                                      \
  (::mxring::base::in_simulation() && ::mxring::base::buggify_hook(text, permille) && ([] { \
     MXRING_PROBE("buggify: " text);                                                        \
     return true;                                                                           \
   }()))
