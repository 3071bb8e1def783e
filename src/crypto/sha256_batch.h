// SHA-256 (FIPS 180-4) of many messages at once: each stream is one message, and a flush advances
// all of them together, one stream per SIMD lane.
//
//   batch.append(stream, piece);   // any number of streams and pieces, in any order
//   batch.finish(stream);          // its last piece has been appended
//   batch.flush();                 // everything appended is hashed; finished streams have digests
//
// A piece is a view: its bytes must stay where they are until the next flush(). Between flushes a
// stream keeps its state and fewer than 64 bytes, nothing of the caller's. A shard flushes once per
// loop turn, so nobody waits for lanes to fill; a lane whose stream has ended is given the next
// stream. What is best for the number of streams at hand (lanes, two interleaved SHA-NI streams,
// one, or portable code) is chosen in each flush from what the processor can do.
//
// A long piece's blocks are hashed where they lie; short pieces, and the ends of long ones, are
// gathered into blocks as they are appended. When the room for that is used up, append() and
// finish() flush by themselves, so some digests may stand before the caller's flush.
//
// Thread: one per batch. Memory: about half a MiB per batch, allocated at its construction and
// touched as it is used; nothing is allocated after that. Failure: none.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/sha256.h"

namespace mxring::crypto {

// The ways to do it, the slowest first.
enum class Sha256Path : std::uint8_t { kPortable, kLanes8, kShaNi, kShaNiPair, kLanes16 };
std::string_view word(Sha256Path path);      // "portable", "avx2 x8", "sha-ni", ...
std::span<const Sha256Path> sha256_paths();  // those this processor has

struct Sha256Kernel;
class Sha256Batch;

class Sha256Stream {
 public:
  Sha256Stream() { reset(); }
  Sha256Stream(const Sha256Stream&) = delete;
  Sha256Stream& operator=(const Sha256Stream&) = delete;
  ~Sha256Stream();  // forgotten by its batch

  // Ready for a new message; what a batch still had of the old one is forgotten.
  void reset();
  bool finished() const { return finished_; }  // digest() stands
  const Sha256Digest& digest() const { return digest_; }

 private:
  friend class Sha256Batch;
  std::array<std::uint32_t, 8> state_;
  std::array<std::uint8_t, 64> block_;  // the beginning of an incomplete block
  std::uint64_t bytes_ = 0;             // hashed, in block_, or in the batch
  Sha256Batch* batch_ = nullptr;        // has something of this stream
  std::uint32_t job_ = 0;               // in the batch; kNoJob: none yet
  bool closed_ = false;                 // takes no more pieces
  bool finished_ = false;
  Sha256Digest digest_{};
};

class Sha256Batch {
 public:
  // `paths` limits what may be used, for tests and benchmarks; empty: all of this processor's.
  explicit Sha256Batch(std::span<const Sha256Path> paths = {});
  Sha256Batch(const Sha256Batch&) = delete;
  Sha256Batch& operator=(const Sha256Batch&) = delete;
  ~Sha256Batch();  // its streams may outlive it

  // A piece below this size is copied at once and need not stay.
  static constexpr std::size_t kCopiedBelowBytes = 256;

  void append(Sha256Stream& stream, std::string_view piece);
  // `copy` goes on from where `stream` is; both take pieces from then on. Flushes when the batch
  // has something of `stream`.
  void fork(const Sha256Stream& stream, Sha256Stream& copy);
  void finish(Sha256Stream& stream);
  // The stream's owner goes away before the flush, or wants no digest any more. The stream takes
  // nothing until it is reset.
  void forget(Sha256Stream& stream);
  void flush();
  // Since the beginning, of all streams: a measure of the work that was given to it.
  std::uint64_t bytes_appended() const { return bytes_appended_; }
  bool empty() const { return waiting_jobs_ == 0 && gather_end_ - gather_start_ < 64; }

 private:
  struct alignas(64) Block {
    std::uint8_t bytes[64];
  };

  // Whole blocks that lie one after the other, in a piece or in gathered_.
  struct Run {
    const std::uint8_t* data;
    std::size_t blocks;
    std::uint32_t next;
  };
  // What one stream has to be hashed in this flush.
  struct Job {
    Sha256Stream* stream;  // nullptr: forgotten
    std::size_t blocks;    // in all its runs
    std::uint32_t first_run;
    std::uint32_t last_run;
  };
  struct Lanes;

  void append_slowly(Sha256Stream& stream, std::string_view piece);
  void start_gathering(Sha256Stream& stream);
  void stop_gathering();
  void make_room();
  void add_run(Sha256Stream& stream, const std::uint8_t* data, std::size_t blocks);

  const Sha256Kernel& best_kernel(std::size_t streams) const;
  void advance_with(const Sha256Kernel& kernel);
  bool start_next_job(Lanes& lanes, std::size_t lane);
  void end_job(Lanes& lanes, std::size_t lane);
  void suspend_job(Lanes& lanes, std::size_t lane);

  std::array<const Sha256Kernel*, 17> best_kernels_;  // by the number of streams; more: the last

  // One stream at a time has its bytes gathered, from gather_start_ (a whole block's place) to
  // gather_end_; before that lie the blocks of others. It is the one last appended to, as a
  // canonicaliser gives one message's pieces in a row.
  std::unique_ptr<Block[]> gathered_;
  Sha256Stream* gathering_ = nullptr;
  std::uint8_t* gather_start_;
  std::uint8_t* gather_end_;
  std::uint8_t* gather_limit_;  // leaves room for the padding
  std::vector<Run> runs_;
  std::vector<Job> jobs_;
  std::size_t waiting_jobs_ = 0;  // those not forgotten
  std::uint64_t bytes_appended_ = 0;

  // Only during a flush: jobs in no lane, the longest last.
  std::vector<Job*> pending_;
};

}  // namespace mxring::crypto
