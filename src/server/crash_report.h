// What is said when the process dies of SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGABRT, failed
// assertions included: the signal, the thread, a backtrace, and the last turns of each shard, as
// notices in the journal (or in words on standard error before there is one). Then the signal takes
// its course, so that whoever waits for the process sees what it died of.
//
// The handler makes only calls that are safe in it: nothing allocates, locks, or waits for a reader
// longer than a tenth of a second a line. Addresses are given as file and offset: `addr2line -Cfe
// FILE OFFSET` says where that is.
//
// Sanitizers report for themselves; with them install() does nothing.
#pragma once

#include <cstdint>

#include "obs/turn_ring.h"
#include "server/config.h"

namespace mxring::server::crash_report {

// Once, while there is one thread.
void install();
// From now on lines go there, as journal lines of that form. The descriptor stays the caller's.
void use_journal(int fd, JournalFormat format, std::uint64_t run);
// Up to 256 of them; the ring lives as long as it is known.
void watch(std::uint32_t shard, const obs::TurnRing* ring);
void forget(std::uint32_t shard);

}  // namespace mxring::server::crash_report
