// What is in a file that a report travels in: gzip (RFC 1952, members one after the other), zip
// (stored and deflated entries, from its local headers on), or the bytes as they are. Told by the
// bytes, because types and names are wrong too often. It arrives in pieces and leaves in pieces.
//
// Budgets: bytes that come out, and how many times the bytes that went in.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "mail/transfer_decoder.h"

namespace mxring::decode {

enum class UnpackEnd : std::uint8_t {
  kGood,
  kEnough,     // the sink wanted no more
  kDamaged,    // not what its first bytes said
  kCutShort,   // it ends early
  kEncrypted,  // zip
  kMethod,     // zip: a method that is neither stored nor deflated
  kChecksum,   // all of it came out, and is not what went in
  kBytes,      // budgets
  kRatio,
  kMemory,
};
std::string_view words(UnpackEnd end);

struct UnpackBudget {
  std::uint64_t bytes = 0;
  std::uint64_t ratio = 0;
  std::uint64_t ratio_free = 0;
};

// Where the content goes; zip files have several entries.
class UnpackSink {
 public:
  // False: enough of it. A zip's next entry is then tried, nothing else.
  virtual bool take(std::string_view bytes) = 0;
  // The entry has ended. False: it was what was wanted, stop.
  virtual bool next_entry() = 0;

 protected:
  ~UnpackSink() = default;
};

class Unpacker final : public mail::ByteSink {
 public:
  Unpacker() = default;
  Unpacker(const Unpacker&) = delete;
  Unpacker& operator=(const Unpacker&) = delete;
  ~Unpacker();

  void begin(UnpackSink& sink, const UnpackBudget& budget);
  bool take(std::string_view bytes) override;
  UnpackEnd finish();

  std::uint64_t unpacked() const { return out_bytes_; }

 private:
  enum class State : std::uint8_t {
    kMagic,
    kPlain,
    kGzip,
    kGzipNext,   // another member may follow
    kZipHeader,  // local header
    kZipName,    // name and extra field
    kZipStored,
    kZipDeflated,
    kZipDescriptor,  // what follows data whose size was not known
    kDone,
  };

  void step();
  void find_magic();
  bool give(std::string_view bytes);
  bool begin_inflate(int window_bits, bool& open);
  void inflate_some(bool gzip);
  void read_zip_header();
  void pass_stored();
  void end_entry();
  void end(UnpackEnd how);
  bool need(std::size_t bytes);
  bool over_ratio(std::size_t more);

  UnpackSink* sink_ = nullptr;
  UnpackBudget budget_;
  State state_ = State::kMagic;
  UnpackEnd end_ = UnpackEnd::kGood;
  std::string_view rest_;  // of the piece at hand
  std::string head_;       // an unfinished header
  z_stream gzip_{};
  z_stream raw_{};
  bool gzip_open_ = false;
  bool raw_open_ = false;
  bool entry_wanted_ = true;  // the sink still takes bytes of this entry
  bool any_entry_ = false;
  bool descriptor_ = false;
  std::uint32_t crc_ = 0;
  std::uint32_t crc_wanted_ = 0;
  std::uint64_t stored_left_ = 0;
  std::uint64_t name_left_ = 0;
  std::uint16_t method_ = 0;
  std::uint64_t in_bytes_ = 0;
  std::uint64_t out_bytes_ = 0;
};

}  // namespace mxring::decode
