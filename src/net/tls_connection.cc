#include "net/tls_connection.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "base/assert.h"
#include "base/probe.h"
#include "net/checked.h"

namespace mxring::net {

namespace {

// What a record adds to its plaintext at most, so that a block of plaintext fits into one of
// output.
constexpr std::size_t kRecordExtraBytes = 64;
// More than that holds a whole record, for which a step of the handshake waits in line.
constexpr std::size_t kEnoughForAStep = kRecordHeaderBytes + kRecordBodyMax;
// What may be here unread all the same: the longest hello in the smallest records, and what its
// last receive brought after it; or what came before receiving had stopped.
constexpr std::size_t kHandshakeBytesMax = 64 * 1024;
// The memory of bytes kept grows in steps: by doubling it would be up to twice as much.
constexpr std::size_t kKeptStepBytes = 1024;
// After the handshake a block of replies and a few alerts or keys may wait to be sent. A client
// that asks for new keys without end (RFC 8446 4.6.3) and reads none of the answers gets no
// further.
constexpr std::size_t kWaitingBlocksMax = 16;
// The beginning of a record is kept in its receive buffer when it fills this share of it.
constexpr std::size_t kWorthKeeping = 8;

}  // namespace

TlsConnection::TlsConnection(std::shared_ptr<const TlsServer> server, uring::BufferPool& buffers,
                             OutputPool& outputs, OutputQueue& output)
    : server_(std::move(server)), buffers_(buffers), output_(output), plain_(outputs) {}

TlsConnection::~TlsConnection() {
  stop_reading();
}

void TlsConnection::stop_reading() {
  for (const Chunk& chunk : chunks_) buffers_.release(chunk.buffer);
  chunks_.clear();
  chunk_bytes_ = 0;
  std::string().swap(kept_);
  kept_begin_ = 0;
  record_left_ = 0;
  reading_over_ = true;
}

void TlsConnection::add(const Chunk& chunk) {
  const Checked checked(*this);
  if (reading_over_) {
    buffers_.release(chunk.buffer);
    return;
  }
  chunks_.push_back(chunk);
  chunk_bytes_ += chunk.end - chunk.begin;
  if (state_ == TlsState::kOpen) return;
  if (received() > kHandshakeBytesMax) {
    fail(TlsAlert::kUnexpectedMessage);
    return;
  }
  // A handshake is small and may be waited for: it holds no receive buffers.
  keep_rest();
}

void TlsConnection::invariants() const {
  MXRING_ASSERT(kept_begin_ <= kept_.size());
  std::size_t bytes = 0;
  for (const Chunk& chunk : chunks_) {
    MXRING_ASSERT(chunk.begin < chunk.end && chunk.end <= buffers_.options().buffer_bytes);
    bytes += chunk.end - chunk.begin;
  }
  MXRING_ASSERT(bytes == chunk_bytes_);
  MXRING_ASSERT(record_left_ == 0);  // all of a record, or nothing of it
  if (reading_over_) MXRING_ASSERT(kept_.empty() && chunks_.empty());
  plain_.invariants();
  switch (state_) {
    case TlsState::kHello:
      MXRING_ASSERT(stream_ == nullptr);
      [[fallthrough]];
    case TlsState::kHandshake:
      MXRING_ASSERT(chunks_.empty());  // whoever waits in line holds no receive buffer
      MXRING_ASSERT(received() <= kHandshakeBytesMax);
      break;
    case TlsState::kOpen:
      MXRING_ASSERT(stream_ != nullptr && stream_->refused() == TlsAlert::kNone);
      break;
    case TlsState::kClosed:
    case TlsState::kFailed:
      MXRING_ASSERT(reading_over_);
      break;
  }
}

// ---- the transport ----

std::size_t TlsConnection::take(std::span<char> into) {
  if (record_left_ == 0) {
    record_left_ = begin_record();
    if (record_left_ == 0) return 0;
  }
  into = into.first(std::min(into.size(), record_left_));
  std::size_t done = std::min(into.size(), kept_.size() - kept_begin_);
  if (done > 0) {
    std::memcpy(into.data(), kept_.data() + kept_begin_, done);
    kept_begin_ += done;
    if (kept_begin_ == kept_.size()) {
      kept_.clear();
      kept_begin_ = 0;
    }
  }
  std::size_t used = 0;
  while (done < into.size() && used < chunks_.size()) {
    Chunk& chunk = chunks_[used];
    const std::size_t n = std::min<std::size_t>(into.size() - done, chunk.end - chunk.begin);
    std::memcpy(into.data() + done, buffers_.data(chunk.buffer) + chunk.begin, n);
    done += n;
    chunk.begin += static_cast<std::uint32_t>(n);
    chunk_bytes_ -= n;
    if (chunk.begin < chunk.end) break;
    buffers_.release(chunk.buffer);
    ++used;
  }
  MXRING_ASSERT(done <= record_left_);
  chunks_.erase(chunks_.begin(), chunks_.begin() + static_cast<std::ptrdiff_t>(used));
  record_left_ -= done;
  return done;
}

void TlsConnection::put(std::string_view ciphertext) {
  output_.append(ciphertext);
}

// As take(), but leaves them.
std::size_t TlsConnection::peek(std::span<char> into) const {
  std::size_t done = std::min(into.size(), kept_.size() - kept_begin_);
  std::memcpy(into.data(), kept_.data() + kept_begin_, done);
  for (const Chunk& chunk : chunks_) {
    const std::size_t n = std::min<std::size_t>(into.size() - done, chunk.end - chunk.begin);
    std::memcpy(into.data() + done, buffers_.data(chunk.buffer) + chunk.begin, n);
    done += n;
  }
  return done;
}

TlsConnection::Header TlsConnection::next_header() const {
  std::array<char, kRecordHeaderBytes> bytes{};
  if (peek(bytes) < bytes.size()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(bytes[i]); };
  return {.here = true, .type = byte(0), .body_bytes = std::size_t{byte(3)} << 8 | byte(4)};
}

// All of it, or enough to refuse it.
bool TlsConnection::record_here() const {
  if (record_left_ > 0) return true;
  const Header next = next_header();
  return next.here && (received() >= kRecordHeaderBytes + next.body_bytes ||
                       stream_->header(next.type, next.body_bytes) != TlsAlert::kNone);
}

// The stream is given whole records only, and none that the rules refuse: then 0, and refused()
// says why.
std::size_t TlsConnection::begin_record() {
  const Header next = next_header();
  if (!next.here) return 0;
  if (received() < kRecordHeaderBytes + next.body_bytes &&
      stream_->header(next.type, next.body_bytes) == TlsAlert::kNone) {
    return 0;
  }
  if (stream_->begin_record(next.type, next.body_bytes) != TlsAlert::kNone) return 0;
  return kRecordHeaderBytes + next.body_bytes;
}

void TlsConnection::keep(std::string_view bytes) {
  const std::size_t unread = kept_.size() - kept_begin_;
  if (kept_.size() + bytes.size() > kept_.capacity()) {
    // With the terminating 0 a whole number of steps.
    const std::size_t steps = (unread + bytes.size()) / kKeptStepBytes + 1;
    std::string grown;
    grown.reserve(steps * kKeptStepBytes - 1);
    grown.append(kept_, kept_begin_);
    kept_.swap(grown);
    kept_begin_ = 0;
  }
  kept_.append(bytes);
}

// Gives back memory that what is left unread does not need.
void TlsConnection::trim_kept() {
  const std::size_t unread = kept_.size() - kept_begin_;
  if (kept_.capacity() - unread <= 2 * kKeptStepBytes) return;
  std::string(kept_, kept_begin_).swap(kept_);
  kept_begin_ = 0;
}

void TlsConnection::keep_rest() {
  for (const Chunk& chunk : chunks_) {
    keep({buffers_.data(chunk.buffer) + chunk.begin, chunk.end - chunk.begin});
    buffers_.release(chunk.buffer);
  }
  chunks_.clear();
  chunk_bytes_ = 0;
}

// The newest bytes move up to those before them when they fit there, so that two neighbours always
// hold more than one buffer would: a record is at most a few buffers, in however small pieces it
// comes. Nobody else views a chunk that waits here, and the kernel gives each buffer for one
// receive only (no IOU_PBUF_RING_INC): what lies past its end is ours.
void TlsConnection::join_last_chunks() {
  if (chunks_.size() < 2) return;
  const Chunk& last = chunks_.back();
  Chunk& before = chunks_[chunks_.size() - 2];
  const std::uint32_t n = last.end - last.begin;
  if (n > buffers_.options().buffer_bytes - before.end) return;
  std::memcpy(buffers_.data(before.buffer) + before.end, buffers_.data(last.buffer) + last.begin,
              n);
  MXRING_PROBE("TLS: pieces of a record move together");
  before.end += n;
  MXRING_ASSERT(before.end <= buffers_.options().buffer_bytes);
  bytes_copied_ += n;
  buffers_.release(last.buffer);
  chunks_.pop_back();
}

// What is left is the beginning of a record, or waits for a free buffer. Only here is it known that
// it has to wait: what completes a record is never moved.
void TlsConnection::keep_small_rest() {
  if (chunk_bytes_ > 0 && chunk_bytes_ * kWorthKeeping < buffers_.options().buffer_bytes) {
    MXRING_PROBE("TLS: the small beginning of a record is kept");
    bytes_copied_ += chunk_bytes_;
    keep_rest();
  } else {
    join_last_chunks();
  }
  trim_kept();
}

// ---- the handshake ----

// Before there is a stream, which encrypts them later.
TlsState TlsConnection::fail(TlsAlert alert) {
  MXRING_ASSERT(alert != TlsAlert::kNone);
  // {alert, TLS 1.0 for old clients, length 2, fatal, what}
  const std::array<char, 7> record{21, 3, 1, 0, 2, 2, static_cast<char>(alert)};
  output_.append({record.data(), record.size()});
  stop_reading();
  return state_ = TlsState::kFailed;
}

// After a step in which the rules may have refused a record.
bool TlsConnection::refused() {
  MXRING_ASSERT(stream_ != nullptr);
  if (stream_->refused() == TlsAlert::kNone) return false;
  stream_->send_refusal();
  stop_reading();
  state_ = TlsState::kFailed;
  return true;
}

void TlsConnection::read_hello() {
  const std::string_view bytes = std::string_view(kept_).substr(kept_begin_);
  HelloRecords records;
  switch (read_client_hello(bytes, hello_, &records)) {
    case HelloOutcome::kMore:
      return;
    case HelloOutcome::kHello:
      // Under TLS 1.2 wolfSSL would take any curve it was compiled with.
      if (!hello_.shares_group) {
        fail(TlsAlert::kHandshakeFailure);
        return;
      }
      if (!records.rewritten.empty()) {
        kept_.replace(kept_begin_, records.wire_bytes, records.rewritten);
      }
      state_ = TlsState::kHandshake;
      return;
    case HelloOutcome::kNotTls:
      fail(TlsAlert::kUnexpectedMessage);
      return;
    case HelloOutcome::kMalformed:
      fail(TlsAlert::kDecodeError);
      return;
  }
}

bool TlsConnection::handshake_ready() {
  const Checked checked(*this);
  if (reading_over_) return state_ == TlsState::kFailed;
  if (state_ == TlsState::kHello && received() > 0) read_hello();
  if (state_ == TlsState::kHandshake) return stream_ == nullptr || record_here();
  return state_ == TlsState::kFailed;
}

bool TlsConnection::handshake_full() const {
  return state_ == TlsState::kHandshake && received() > kEnoughForAStep;
}

TlsState TlsConnection::handshake() {
  const Checked checked(*this);
  if (state_ != TlsState::kHandshake) return state_;
  if (stream_ == nullptr) stream_ = server_->accept(hello_, *this);
  if (stream_ == nullptr) return fail(TlsAlert::kInternalError);
  const TlsStatus status = stream_->handshake();
  if (refused()) return state_;
  trim_kept();
  switch (status) {
    case TlsStatus::kWantInput:
      break;
    case TlsStatus::kDone:
      state_ = TlsState::kOpen;
      break;
    case TlsStatus::kClosed:
    case TlsStatus::kFailed:
      stop_reading();
      state_ = TlsState::kFailed;
      break;
  }
  return state_;
}

// ---- afterwards ----

bool TlsConnection::decrypt(std::vector<Chunk>& chunks) {
  const Checked checked(*this);
  const std::uint32_t buffer_bytes = buffers_.options().buffer_bytes;
  Chunk into;
  bool have_buffer = false;
  bool enough = true;
  while (state_ == TlsState::kOpen && !reading_over_ &&
         (stream_->has_plaintext() || record_here())) {
    if (!have_buffer) {
      if (MXRING_BUGGIFY("no buffer to decrypt into", 100) || !buffers_.take(&into.buffer)) {
        enough = false;
        break;
      }
      into.begin = into.end = 0;
      have_buffer = true;
    }
    std::size_t got = 0;
    const TlsStatus status =
        stream_->read({buffers_.data(into.buffer) + into.end, buffer_bytes - into.end}, got);
    into.end += static_cast<std::uint32_t>(got);
    bytes_copied_ += got;
    if (into.end == buffer_bytes) {
      chunks.push_back(into);
      have_buffer = false;
    }
    // "Wants input" is a record without content, such as a new key.
    if (refused()) break;
    if (status == TlsStatus::kClosed || status == TlsStatus::kFailed) {
      stop_reading();
      state_ = status == TlsStatus::kClosed ? TlsState::kClosed : TlsState::kFailed;
    } else if (output_.blocks() > kWaitingBlocksMax) {
      stop_reading();
      state_ = TlsState::kFailed;
    }
  }
  if (have_buffer && into.end > 0) {
    chunks.push_back(into);
  } else if (have_buffer) {
    buffers_.release(into.buffer);
  }
  if (state_ == TlsState::kOpen) keep_small_rest();
  return enough;
}

std::span<char> TlsConnection::room() {
  const std::span<char> room = plain_.room();
  return room.first(room.size() - std::min(room.size(), kRecordExtraBytes));
}

void TlsConnection::seal() {
  const Checked checked(*this);
  const std::string_view plaintext = plain_.unsent();
  if (!plaintext.empty()) {
    // A failed stream has said its last word.
    if (state_ != TlsState::kFailed && stream_ != nullptr) stream_->write(plaintext);
    plain_.sent(plaintext.size());
  } else {
    plain_.release_sent();
  }
}

void TlsConnection::close_notify() {
  const Checked checked(*this);
  if (notified_ || stream_ == nullptr || state_ == TlsState::kFailed) return;
  notified_ = true;
  seal();
  stream_->close_notify();
}

std::size_t TlsConnection::heap_held() const {
  return sizeof *this + memory_bytes() + plain_.bytes_held() +
         (stream_ != nullptr ? stream_->bytes_held() : 0);
}

std::string TlsConnection::error_text() const {
  return stream_ == nullptr ? "no TLS hello" : stream_->error_text();
}

}  // namespace mxring::net
