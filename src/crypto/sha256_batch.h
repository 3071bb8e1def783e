// SHA-256 (FIPS 180-4) of many messages at once: each stream is one message, and a flush advances
// all of them together, one stream per SIMD lane.
//
//   batch.append(stream, piece);   // any number of streams and pieces, in any order
//   batch.finish(stream);          // its last piece has been appended
//   batch.flush();                 // everything appended is hashed; the digests of finished
//   streams
//                                  // stand
//
// A piece is a view: its bytes must stay where they are until the next flush(). Between flushes a
// stream keeps its state and fewer than 64 bytes, nothing of the caller's. A shard flushes once per
// loop turn, so nobody waits for lanes to fill; a lane whose stream has ended is given the next
// stream. What is best for the number of streams and bytes at hand (lanes, two interleaved SHA-NI
// streams, one, or portable code) is chosen in each flush from what the processor can do.
//
// Thread: one per batch. Memory: vectors that grow to the largest flush and are kept; nothing is
// allocated after that. Failure: none.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/sha256.h"

namespace mxring::crypto {

// The ways to do it, the slowest first.
enum class Sha256Path : std::uint8_t { kPortable, kLanes8, kShaNi, kShaNiPair, kLanes16 };
std::string_view word(Sha256Path path);      // "portable", "avx2 x8", "sha-ni", ...
std::span<const Sha256Path> sha256_paths();  // those this processor has

class Sha256Stream {
 public:
  Sha256Stream() { reset(); }
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;

  // Ready for a new message. Not while it has pieces in a batch; see Sha256Batch::forget.
  void reset();
  bool finished() const { return finished_; }  // digest() stands
  const Sha256Digest& digest() const { return digest_; }

 private:
  friend class Sha256Batch;
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_;  // the beginning of an incomplete block
  std::uint64_t bytes_ = 0;             // hashed or in block_
  bool finished_ = false;
  Sha256Digest digest_{};
};

class Sha256Batch {
 public:
  // `paths` limits what may be used, for tests and benchmarks; empty: all of this processor's.
  explicit Sha256Batch(std::span<const Sha256Path> paths = {});

  void append(Sha256Stream& stream, std::string_view piece);
  void finish(Sha256Stream& stream);
  // The stream's owner goes away before the flush.
  void forget(Sha256Stream& stream);
  void flush();
  bool empty() const;  // nothing to flush
};

}  // namespace mxring::crypto
