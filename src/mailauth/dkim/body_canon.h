// Body canonicalization (RFC 6376 3.4.3, 3.4.4) over the runs of a body as they arrive.
//
// Contract: feed() takes consecutive runs, in any split, and gives out the canonical form piece by
// piece, with nothing lost or added by the split. Whatever need not change is given out as a view
// of the run, many lines in one piece; the rest are constants. What may turn out to be the end of a
// line or of the body is withheld as a count, not as bytes: nothing of a run is needed after
// feed(), apart from the pieces' views. Where white space changes every few bytes it is written
// anew, piece by piece, which costs less than a view per word. Lines end in CRLF; a bare CR or LF
// is a byte like any other.
//
// Thread: the owner's. Memory: none. Failure: none.
#pragma once

#include <cstdint>
#include <string_view>

#include "mailauth/dkim/canonicalization.h"

namespace mxring::mailauth::dkim {

// Takes the pieces of a canonical form; they stay readable as long as the run does, but for those
// of less than kShortPieceBytes, which are to be copied at once.
constexpr std::size_t kShortPieceBytes = 256;
class PieceSink {
 public:
  virtual void take(std::string_view piece) = 0;

 protected:
  ~PieceSink() = default;
};

class BodyCanon {
 public:
  explicit BodyCanon(Canonicalization canonicalization = Canonicalization::kSimple)
      : relaxed_(canonicalization == Canonicalization::kRelaxed) {}

  void feed(std::string_view run, PieceSink& sink);
  // The body is complete; gives out what its end needs.
  void finish(PieceSink& sink);

 private:
  // A stretch of the run that stays as it is, not given out before it is known what follows.
  struct Stretch {
    const char* begin = nullptr;
    const char* content_end = nullptr;  // before the CRLFs at its end
    const char* end = nullptr;
  };

  const char* resume(const char* at, PieceSink& sink);
  void feed_simple(const char* begin, const char* end, PieceSink& sink);
  void feed_relaxed(const char* begin, const char* end, PieceSink& sink);
  const char* skip_blanks(const char* at, const char* end, const char*& begin);
  void hold(const char* begin, const char* end, Stretch& held, PieceSink& sink);
  void release(Stretch& held, PieceSink& sink);
  void end_held(Stretch& held, PieceSink& sink);
  const char* compact(const char* at, const char* end, PieceSink& sink);
  void put_withheld(PieceSink& sink);
  void withhold_end(const char* begin, const char*& end);

  std::uint64_t crlfs_ = 0;  // line ends withheld
  bool relaxed_;
  bool blank_ = false;    // relaxed: white space withheld, behind those line ends
  bool cr_ = false;       // a CR withheld, behind all of that
  bool content_ = false;  // something has been given out
};

}  // namespace mxring::mailauth::dkim
