#include "decode/unpack.h"

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace mxring::decode {

namespace {

constexpr int kGzipWindowBits = 15 + 16;
constexpr int kRawWindowBits = -15;
constexpr std::size_t kOutBytes = 32 * 1024;
constexpr std::size_t kLocalHeaderBytes = 30;
constexpr std::size_t kDescriptorBytes = 12;  // without its signature
static_assert(kDescriptorBytes + 4 < kLocalHeaderBytes);
constexpr std::string_view kGzipMagic = "\x1F\x8B";
constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::string_view kDescriptorMagic = "PK\x07\x08";

std::uint32_t little(std::string_view bytes, std::size_t at, std::size_t size) {
  std::uint32_t value = 0;
  MXRING_ASSERT(size <= 4 && at + size <= bytes.size());
  for (std::size_t i = size; i-- > 0;) {
    value = (value << 8U) | static_cast<unsigned char>(bytes[at + i]);
  }
  return value;
}

const Bytef* zlib_bytes(std::string_view text) {
  return reinterpret_cast<const Bytef*>(text.data());
}

}  // namespace

std::string_view words(UnpackEnd end) {
  switch (end) {
    case UnpackEnd::kGood:
    case UnpackEnd::kEnough:
      return "";
    case UnpackEnd::kDamaged:
      return "its compressed data is damaged";
    case UnpackEnd::kCutShort:
      return "its compressed data ends early";
    case UnpackEnd::kEncrypted:
      return "its zip file is encrypted";
    case UnpackEnd::kMethod:
      return "its zip file is neither stored nor deflated";
    case UnpackEnd::kChecksum:
      return "its compressed data has a wrong checksum";
    case UnpackEnd::kBytes:
      return "more comes out of it than the budget of decoded bytes";
    case UnpackEnd::kRatio:
      return "more comes out of it than the budget of its ratio";
    case UnpackEnd::kMemory:
      return "no memory for zlib";
  }
  return "";
}

Unpacker::~Unpacker() {
  if (gzip_open_) inflateEnd(&gzip_);
  if (raw_open_) inflateEnd(&raw_);
}

void Unpacker::begin(UnpackSink& sink, const UnpackBudget& budget) {
  sink_ = &sink;
  budget_ = budget;
  state_ = State::kMagic;
  end_ = UnpackEnd::kGood;
  rest_ = {};
  head_.clear();
  entry_wanted_ = true;
  any_entry_ = descriptor_ = false;
  in_bytes_ = out_bytes_ = 0;
}

bool Unpacker::take(std::string_view bytes) {
  MXRING_ASSERT(sink_ != nullptr);
  in_bytes_ += bytes.size();
  rest_ = bytes;
  while (!rest_.empty() && state_ != State::kDone) {
    const std::size_t before = rest_.size();
    const State state = state_;
    step();
    MXRING_ASSERT(rest_.size() < before || state_ != state);
  }
  return state_ != State::kDone;
}

UnpackEnd Unpacker::finish() {
  MXRING_ASSERT(sink_ != nullptr);
  if (state_ == State::kMagic && !head_.empty()) {
    rest_ = head_;
    state_ = State::kPlain;
    give(rest_);
  }
  switch (state_) {
    case State::kGzip:
    case State::kZipName:
    case State::kZipStored:
    case State::kZipDeflated:
      end(UnpackEnd::kCutShort);
      break;
    case State::kZipHeader:
      if (!any_entry_) end(UnpackEnd::kCutShort);
      break;
    case State::kPlain:
      if (end_ == UnpackEnd::kGood) sink_->next_entry();
      break;
    case State::kMagic:
    case State::kGzipNext:
    case State::kZipDescriptor:
    case State::kDone:
      break;
  }
  state_ = State::kDone;
  return end_;
}

void Unpacker::end(UnpackEnd how) {
  if (end_ == UnpackEnd::kGood) end_ = how;
  state_ = State::kDone;
}

// Gathers a header that may straddle pieces. True: head_ has that many bytes.
bool Unpacker::need(std::size_t bytes) {
  MXRING_ASSERT(bytes <= kLocalHeaderBytes);
  const std::size_t missing = bytes - std::min(bytes, head_.size());
  const std::size_t taken = std::min(missing, rest_.size());
  head_.append(rest_.substr(0, taken));
  rest_.remove_prefix(taken);
  return head_.size() >= bytes;
}

void Unpacker::step() {
  switch (state_) {
    case State::kMagic:
      return find_magic();
    case State::kPlain:
      if (!give(rest_)) return end(UnpackEnd::kEnough);
      rest_ = {};
      return;
    case State::kGzip:
      return inflate_some(true);
    case State::kGzipNext:
      // What is no further member is padding (RFC 1952 2.2 has members only; tape blocks are met).
      if (!need(2)) return;
      if (head_ != kGzipMagic) return end(UnpackEnd::kGood);
      [[fallthrough]];
    case State::kZipHeader:
      return state_ == State::kZipHeader ? read_zip_header() : find_magic();
    case State::kZipName: {
      const std::uint64_t passed = std::min<std::uint64_t>(name_left_, rest_.size());
      rest_.remove_prefix(passed);
      name_left_ -= passed;
      if (name_left_ > 0) return;
      state_ = method_ == 0 ? State::kZipStored : State::kZipDeflated;
      if (state_ == State::kZipStored && stored_left_ == 0) end_entry();
      return;
    }
    case State::kZipStored:
      return pass_stored();
    case State::kZipDeflated:
      return inflate_some(false);
    case State::kZipDescriptor: {
      MXRING_ASSERT(descriptor_ && any_entry_);
      if (!need(4)) return;
      const bool magic = head_.starts_with(kDescriptorMagic);
      if (!need(kDescriptorBytes + (magic ? 4 : 0))) return;
      crc_wanted_ = little(head_, magic ? 4 : 0, 4);
      descriptor_ = false;
      head_.clear();
      return end_entry();
    }
    case State::kDone:
      return;
  }
}

void Unpacker::find_magic() {
  MXRING_ASSERT(state_ == State::kMagic || state_ == State::kGzipNext);
  if (!need(2)) return;
  if (head_ == kGzipMagic) {
    if (!begin_inflate(kGzipWindowBits, gzip_open_)) return end(UnpackEnd::kMemory);
    state_ = State::kGzip;
    // zlib wants the two bytes as well.
    const std::string_view rest = rest_;
    std::array<char, 2> magic{head_[0], head_[1]};
    head_.clear();
    rest_ = {magic.data(), magic.size()};
    inflate_some(true);
    rest_ = rest;
    return;
  }
  if (head_.starts_with(kZipMagic.substr(0, 2))) {  // perhaps a third byte, of the piece before
    if (!need(4)) return;
    if (head_ == kZipMagic) {
      state_ = State::kZipHeader;
      return;
    }
  }
  state_ = State::kPlain;
  if (!give(head_)) return end(UnpackEnd::kEnough);
  head_.clear();
}

bool Unpacker::over_ratio(std::size_t more) {
  const std::uint64_t total = out_bytes_ + more;
  if (state_ == State::kPlain || total <= budget_.ratio_free ||
      total / std::max<std::uint64_t>(budget_.ratio, 1) <= in_bytes_) {
    return false;
  }
  end(UnpackEnd::kRatio);
  return true;
}

// False: the sink has enough of this entry.
bool Unpacker::give(std::string_view bytes) {
  const std::uint64_t left = budget_.bytes - std::min(budget_.bytes, out_bytes_);
  const std::string_view fitting = bytes.substr(0, left);
  if (over_ratio(fitting.size())) return false;
  out_bytes_ += fitting.size();
  if (entry_wanted_) entry_wanted_ = sink_->take(fitting);
  if (entry_wanted_ && fitting.size() < bytes.size()) {
    end(UnpackEnd::kBytes);
    return false;
  }
  return entry_wanted_;
}

bool Unpacker::begin_inflate(int window_bits, bool& open) {
  MXRING_ASSERT(window_bits == kGzipWindowBits || window_bits == kRawWindowBits);
  z_stream& stream = window_bits > 0 ? gzip_ : raw_;
  if (open) return inflateReset(&stream) == Z_OK;
  stream = {};
  open = inflateInit2(&stream, window_bits) == Z_OK;
  return open;
}

void Unpacker::inflate_some(bool gzip) {
  z_stream& stream = gzip ? gzip_ : raw_;
  std::array<char, kOutBytes> out;
  stream.next_in = const_cast<Bytef*>(zlib_bytes(rest_));
  MXRING_ASSERT(gzip ? gzip_open_ : raw_open_);
  stream.avail_in = static_cast<uInt>(rest_.size());
  // Ends with the input: a round that fills the buffer moves the output's budget instead.
  for (;;) {
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    const int result = inflate(&stream, Z_NO_FLUSH);
    MXRING_ASSERT(stream.avail_in <= rest_.size());
    rest_.remove_prefix(rest_.size() - stream.avail_in);
    const std::string_view had(out.data(), out.size() - stream.avail_out);
    if (!gzip) {
      crc_ =
          static_cast<std::uint32_t>(crc32(crc_, zlib_bytes(had), static_cast<uInt>(had.size())));
    }
    const bool go_on = had.empty() || give(had);
    if (state_ == State::kDone) return;
    if (!go_on && gzip) return end(UnpackEnd::kEnough);
    if (result == Z_STREAM_END) {
      if (!gzip) {
        state_ = descriptor_ ? State::kZipDescriptor : State::kZipHeader;
        if (!descriptor_) end_entry();
      } else {
        state_ = State::kGzipNext;
        if (!sink_->next_entry()) end(UnpackEnd::kEnough);
      }
      return;
    }
    if (result != Z_OK && result != Z_BUF_ERROR) {
      // A gzip's checksum is checked when all of it has come out.
      const bool checksum =
          gzip && stream.msg != nullptr && std::string_view(stream.msg) == "incorrect data check";
      return end(checksum ? UnpackEnd::kChecksum : UnpackEnd::kDamaged);
    }
    if (stream.avail_out > 0) return;  // it wants more input
  }
}

void Unpacker::read_zip_header() {
  MXRING_ASSERT(state_ == State::kZipHeader);
  if (!need(4)) return;
  if (!head_.starts_with(kZipMagic))
    return end(any_entry_ ? UnpackEnd::kGood : UnpackEnd::kDamaged);
  if (!need(kLocalHeaderBytes)) return;
  const std::uint32_t flags = little(head_, 6, 2);
  method_ = static_cast<std::uint16_t>(little(head_, 8, 2));
  crc_wanted_ = little(head_, 14, 4);
  stored_left_ = little(head_, 18, 4);
  name_left_ = little(head_, 26, 2) + little(head_, 28, 2);
  head_.clear();
  descriptor_ = (flags & 8U) != 0;
  crc_ = static_cast<std::uint32_t>(crc32(0, nullptr, 0));
  entry_wanted_ = true;
  any_entry_ = true;
  if ((flags & 1U) != 0) return end(UnpackEnd::kEncrypted);
  // A stored entry whose size follows it has no end that could be found.
  if ((method_ != 0 && method_ != 8) || (method_ == 0 && descriptor_)) {
    return end(UnpackEnd::kMethod);
  }
  if (method_ == 8 && !begin_inflate(kRawWindowBits, raw_open_)) return end(UnpackEnd::kMemory);
  state_ = State::kZipName;
  if (name_left_ == 0) {
    state_ = method_ == 0 ? State::kZipStored : State::kZipDeflated;
    if (state_ == State::kZipStored && stored_left_ == 0) end_entry();
  }
}

void Unpacker::pass_stored() {
  MXRING_ASSERT(state_ == State::kZipStored && method_ == 0);
  const std::size_t bytes = std::min<std::uint64_t>(stored_left_, rest_.size());
  const std::string_view part = rest_.substr(0, bytes);
  crc_ = static_cast<std::uint32_t>(crc32(crc_, zlib_bytes(part), static_cast<uInt>(bytes)));
  give(part);
  if (state_ == State::kDone) return;
  rest_.remove_prefix(bytes);
  stored_left_ -= bytes;
  if (stored_left_ == 0) end_entry();
}

void Unpacker::end_entry() {
  MXRING_ASSERT(any_entry_ && state_ != State::kDone);
  state_ = State::kZipHeader;
  const bool whole = entry_wanted_;
  if (!sink_->next_entry()) {
    if (whole && crc_ != crc_wanted_) return end(UnpackEnd::kChecksum);
    return end(UnpackEnd::kEnough);
  }
}

}  // namespace mxring::decode
