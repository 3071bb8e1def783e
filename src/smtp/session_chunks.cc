// Messages in chunks (RFC 3030): BDAT and its octets.
#include <algorithm>

#include "base/assert.h"
#include "base/probe.h"
#include "smtp/command.h"
#include "smtp/command_table.h"
#include "smtp/session.h"

namespace mxring::smtp {

Session::Outcome Session::begin_chunk(std::string_view arguments, ReplyBuffer& out) {
  static constexpr const CommandRow& command = row_of("BDAT");
  const ChunkArguments chunk = parse_chunk(arguments);
  // Nobody knows where the next command begins, or it never comes.
  if (chunk.size == ChunkArguments::Size::kUnknown) return close(replies::kNeedChunkSize, out);
  if (chunk.size == ChunkArguments::Size::kBeyond) return close(replies::kMessageTooLarge, out);
  MXRING_ASSERT(chunk_.octets_left == 0 && !chunk_.held);  // the one before has ended
  chunk_ = {.octets_left = chunk.octets, .last = chunk.last};
  const State state = this->state();
  if ((command.states & in(state)) == 0) {
    phase_ = Phase::kChunk;
    MXRING_PROBE("BDAT: out of order, its octets are skipped");
    refusal_ = out_of_order(command, state);
    chunk_.error = !follows_a_refusal(refusal_) && refusal_ != replies::kNoValidRecipients;
    return chunk.octets == 0 ? end_chunk(out) : Outcome{};
  }
  MXRING_ASSERT(state == State::kRecipients || state == State::kChunks);
  transfer_ = Transfer::kChunks;
  const std::uint64_t room = options_.limits.message_bytes -
                             std::min(options_.limits.message_bytes,
                                      state == State::kChunks ? scanner_.content_bytes() : 0);
  // Without LAST in its place it is not known whether the message ends here.
  if (!chunk.well_formed) return refuse_chunks(replies::kNeedChunkSize, out);
  if (chunk.octets > room) {
    MXRING_PROBE("BDAT: 552, the message gets too large");
    return refuse_chunks(replies::kMessageTooLarge, out);
  }
  if (state == State::kRecipients) {
    Outcome asked = ask(Event::kData);
    asked.hold = true;
    return asked;
  }
  phase_ = Phase::kChunk;
  if (chunk.octets > 0) return {};
  if (chunk.last && intake_ == Intake::kKept) {
    scanner_.take_end();
    if (scanner_objects()) {
      MXRING_PROBE("BDAT: the last octet was a fault");
      return discard_chunks();
    }
  }
  return end_chunk(out);
}

// The message is refused for what this BDAT says; its octets come all the same.
Session::Outcome Session::refuse_chunks(ReplyId refusal, ReplyBuffer& out) {
  phase_ = Phase::kChunk;
  if (intake_ == Intake::kNone || intake_ == Intake::kKept) {
    const bool kept = intake_ == Intake::kKept;
    intake_ = Intake::kRefused;
    refusal_ = refusal;
    if (kept) return {true, Event::kDiscard, true};
  }
  return chunk_.octets_left == 0 ? end_chunk(out) : Outcome{};
}

Session::Outcome Session::discard_chunks() {
  MXRING_ASSERT(intake_ == Intake::kKept);
  intake_ = Intake::kFaulty;
  return {true, Event::kDiscard, true};
}

Session::Outcome Session::take_chunk(std::string_view& rest, std::string_view& run,
                                     ReplyBuffer& out) {
  MXRING_ASSERT(chunk_.held || chunk_.octets_left > 0);
  if (chunk_.held) {
    MXRING_PROBE("BDAT: the octet that was held is taken");
    MXRING_ASSERT(!rest.empty());
    chunk_.held = false;
    rest.remove_prefix(1);
    return chunk_.octets_left == 0 ? end_chunk(out) : Outcome{};
  }
  const std::string_view piece = rest.substr(
      0, static_cast<std::size_t>(std::min<std::uint64_t>(chunk_.octets_left, rest.size())));
  const bool ends = piece.size() == chunk_.octets_left;
  if (intake_ != Intake::kKept) {
    chunk_.octets_left -= piece.size();
    rest.remove_prefix(piece.size());
    return ends ? end_chunk(out) : Outcome{};
  }
  scanner_.take(piece);
  if (ends && chunk_.last) scanner_.take_end();
  if (scanner_objects()) {
    MXRING_PROBE("BDAT: faulty content");
    intake_ = Intake::kFaulty;
    return {true, Event::kDiscard};  // the piece is skipped in the next step
  }
  chunk_.octets_left -= piece.size();
  rest.remove_prefix(piece.size());
  run = piece;
  return {true, Event::kContent, ends};
}

Session::Outcome Session::end_chunk(ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kChunk && chunk_.octets_left == 0 && !chunk_.held);
  phase_ = Phase::kCommand;
  switch (intake_) {
    case Intake::kNone:
      return chunk_.error ? error(refusal_, out) : answer(refusal_, out);
    case Intake::kKept:
      if (!chunk_.last) return answer(replies::kChunkOk, out);
      ++messages_;
      phase_ = Phase::kWaiting;
      return {true, Event::kMessage};
    case Intake::kFaulty:
    case Intake::kRefused:
      break;
  }
  const Reply refusal = as_meant(content_refusal());
  if (!chunk_.last) return answer(refusal, out);
  ++messages_;
  out.say(refusal, Stage::kMessage);
  end_message();
  return {true, Event::kRefused};
}

}  // namespace mxring::smtp
