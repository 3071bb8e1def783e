#include "mailauth/dkim/body_canon.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "mailauth/dkim/blank_scan.h"

namespace mxring::mailauth::dkim {

namespace {

constexpr std::string_view kCrlf = "\r\n";

// Line ends withheld are given out in pieces of this.
constexpr auto kLineEnds = [] {
  std::array<char, 1024> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = i % 2 == 0 ? '\r' : '\n';
  return bytes;
}();

// Blanks that change nearer to one another than this are written anew rather than passed over.
constexpr std::ptrdiff_t kDenseBytes = 64;
constexpr std::ptrdiff_t kCompactable = kCompactBytes + 2;

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

std::string_view view(const char* begin, const char* end) {
  return {begin, static_cast<std::size_t>(end - begin)};
}

// The end of [begin, end) without the CRLFs there.
const char* before_line_ends(const char* begin, const char* end) {
  while (end - begin >= 2 && end[-1] == '\n' && end[-2] == '\r') end -= 2;
  return end;
}

}  // namespace

void BodyCanon::feed(std::string_view run, PieceSink& sink) {
  if (run.empty()) return;
  const char* end = run.data() + run.size();
  const char* begin = cr_ ? resume(run.data(), sink) : run.data();
  if (begin == end) return;
  if (relaxed_) {
    feed_relaxed(begin, end, sink);
  } else {
    feed_simple(begin, end, sink);
  }
}

// The last run ended in a CR, and now it is known what follows.
const char* BodyCanon::resume(const char* at, PieceSink& sink) {
  cr_ = false;
  if (*at == '\n') {
    blank_ = false;
    ++crlfs_;
    return at + 1;
  }
  put_withheld(sink);
  sink.take(kCrlf.substr(0, 1));
  return at;
}

void BodyCanon::feed_simple(const char* begin, const char* end, PieceSink& sink) {
  withhold_end(begin, end);
  const char* content_end = before_line_ends(begin, end);
  if (content_end != begin) {
    put_withheld(sink);
    sink.take(view(begin, content_end));
  }
  crlfs_ += static_cast<std::uint64_t>(end - content_end) / 2;
}

void BodyCanon::feed_relaxed(const char* begin, const char* end, PieceSink& sink) {
  Stretch held;
  const char* at = begin;
  // White space that goes on from the last run.
  if (blank_ && is_blank(*at)) at = skip_blanks(at, end, begin);
  while (at < end) {
    const char* const from = at;
    at += find_changing_blank(at, static_cast<std::size_t>(end - at));
    if (at == end) break;
    hold(begin, at, held, sink);
    if (at - from < kDenseBytes && end - at >= kCompactable) {
      end_held(held, sink);
      begin = at = compact(at, end, sink);
    } else {
      at = skip_blanks(at, end, begin);
    }
  }
  const char* last = end;
  withhold_end(begin, last);
  hold(begin, last, held, sink);
  end_held(held, sink);
}

// What is held goes out, but for its line ends, which must outlive the run.
void BodyCanon::end_held(Stretch& held, PieceSink& sink) {
  if (held.begin == nullptr) return;
  crlfs_ += static_cast<std::uint64_t>(held.end - held.content_end) / 2;
  held.end = held.content_end;
  release(held, sink);
}

// From a blank on, as far as white space goes on changing. Returns where that ends.
const char* BodyCanon::compact(const char* at, const char* end, PieceSink& sink) {
  MXRING_ASSERT(!blank_ && !cr_);
  std::array<char, 3 * kCompactBytes> out;
  static_assert(out.size() < kShortPieceBytes);
  bool changing = true;
  while (changing && end - at >= kCompactable) {
    std::size_t used = 0;
    while (changing && used <= out.size() - kCompactBytes && end - at >= kCompactable) {
      const Compacted done =
          compact_blanks(at, static_cast<std::size_t>(end - at), out.data() + used);
      MXRING_ASSERT(done.taken > 0 && done.written <= done.taken);
      at += done.taken;
      used += done.written;
      changing = done.changed;
    }
    const char* const out_end = out.data() + used;
    const char* const content_end = before_line_ends(out.data(), out_end);
    if (content_end != out.data()) {
      put_withheld(sink);
      sink.take(view(out.data(), content_end));
    }
    crlfs_ += static_cast<std::uint64_t>(out_end - content_end) / 2;
  }
  return at;
}

// From the first of some blanks to what follows them; `begin` becomes the start of the next
// stretch.
const char* BodyCanon::skip_blanks(const char* at, const char* end, const char*& begin) {
  while (at < end && is_blank(*at)) ++at;
  begin = at;
  // At the end of the run it is open what they are before.
  const bool open = at == end || (*at == '\r' && at + 1 == end);
  if (open || (*at == '\r' && at[1] == '\n')) {
    blank_ = true;
    return at;
  }
  // One space stays. If the last blank is one, it can be part of the next stretch.
  blank_ = at[-1] != ' ';
  if (!blank_) begin = at - 1;
  return at;
}

// [begin, end) stays as it is. What was held before is given out, as it is known now whether its
// line ends are followed by anything.
void BodyCanon::hold(const char* begin, const char* end, Stretch& held, PieceSink& sink) {
  if (begin == end) return;
  const bool at_line_end = end - begin >= 2 && begin[0] == '\r' && begin[1] == '\n';
  if (at_line_end) blank_ = false;
  const char* content_end = before_line_ends(begin, end);
  if (content_end == begin) {
    crlfs_ += static_cast<std::uint64_t>(end - begin) / 2;
    return;
  }
  release(held, sink);
  put_withheld(sink);
  held = {begin, content_end, end};
}

void BodyCanon::release(Stretch& held, PieceSink& sink) {
  if (held.begin != nullptr) sink.take(view(held.begin, held.end));
  held = {};
}

void BodyCanon::put_withheld(PieceSink& sink) {
  content_ = true;
  while (crlfs_ != 0) {
    const std::uint64_t count = std::min<std::uint64_t>(crlfs_, kLineEnds.size() / 2);
    sink.take({kLineEnds.data(), static_cast<std::size_t>(count) * 2});
    crlfs_ -= count;
  }
  if (blank_) sink.take(" ");
  blank_ = false;
}

// A CR that ends the run may be half of a line end.
void BodyCanon::withhold_end(const char* begin, const char*& end) {
  if (begin == end || end[-1] != '\r') return;
  cr_ = true;
  --end;
}

void BodyCanon::finish(PieceSink& sink) {
  if (cr_) {
    cr_ = false;
    put_withheld(sink);
    sink.take(kCrlf.substr(0, 1));
  }
  // RFC 6376 3.4.3: simple makes an empty body one line end; 3.4.4: relaxed leaves it empty.
  if (content_ || !relaxed_) sink.take(kCrlf);
  *this = BodyCanon(relaxed_ ? Canonicalization::kRelaxed : Canonicalization::kSimple);
}

}  // namespace mxring::mailauth::dkim
