#include "tests/sim/model.h"

#include <fmt/format.h>

#include <array>

namespace mxring::sim {

namespace {

constexpr std::array<std::string_view, 30> kActs{"banner",
                                                 "EHLO",
                                                 "HELO",
                                                 "bad hello",
                                                 "MAIL",
                                                 "bad MAIL",
                                                 "MAIL without FROM",
                                                 "MAIL with an unknown parameter",
                                                 "MAIL of a large message",
                                                 "RCPT",
                                                 "bad RCPT",
                                                 "RCPT without TO",
                                                 "DATA",
                                                 "content",
                                                 "chunk",
                                                 "last chunk",
                                                 "RSET",
                                                 "NOOP",
                                                 "VRFY",
                                                 "bare VRFY",
                                                 "HELP",
                                                 "unknown",
                                                 "empty",
                                                 "too long",
                                                 "AUTH",
                                                 "QUIT",
                                                 "XCLIENT",
                                                 "bad XCLIENT",
                                                 "XCLIENT of a stranger",
                                                 "STARTTLS"};
constexpr std::array<std::string_view, 10> kFates{
    "accept",  "quarantine", "reject",    "NUL",       "bare CR",
    "bare LF", "long line",  "too large", "no author", "no field"};

std::string_view end_of(Fate fate) {
  switch (fate) {
    case Fate::kAccept:
    case Fate::kQuarantine:
      return "250 2.0.0";
    case Fate::kReject:
      return "550 5.7.26";
    case Fate::kNul:
    case Fate::kBareCr:
    case Fate::kBareLf:
      return "550 5.5.2";
    case Fate::kLongLine:
    case Fate::kNoAuthor:
    case Fate::kNoField:
      return "550 5.6.0";
    case Fate::kTooLarge:
      return "552 5.3.4";
  }
  return "";
}

bool shows_in_content(Fate fate) {
  return fate == Fate::kNul || fate == Fate::kBareCr || fate == Fate::kBareLf ||
         fate == Fate::kLongLine || fate == Fate::kTooLarge;
}

// Where lack of room, of memory or of the log is answered.
bool may_be_put_off(Act act) {
  return act == Act::kMail || act == Act::kRcpt || act == Act::kData || act == Act::kContent ||
         act == Act::kChunk || act == Act::kLastChunk;
}

bool is_put_off(std::string_view reply) {
  return reply == "451 4.3.0" || reply == "452 4.3.1" || reply == "451 4.4.5";
}

}  // namespace

std::string_view name(Act act) {
  return kActs[static_cast<std::size_t>(act)];
}
std::string_view name(Fate fate) {
  return kFates[static_cast<std::size_t>(fate)];
}

std::string Model::expected(Act act, Fate fate) const {
  const bool ready = mail_ && recipients_ > 0;
  const std::string_view not_ready = mail_ ? "554 5.5.1" : "503 5.5.1";
  switch (act) {
    case Act::kBanner:
    case Act::kEhlo:
    case Act::kHelo:
      return act == Act::kBanner ? "220" : "250";
    case Act::kBadHello:
    case Act::kVerifyBare:
      return "501 5.5.4";
    case Act::kMail:
    case Act::kMailBad:
    case Act::kMailNoFrom:
    case Act::kMailUnknown:
    case Act::kMailTooLarge:
      if (!hello_ || mail_) return "503 5.5.1";
      if (act == Act::kMailBad) return "501 5.1.7";
      if (act == Act::kMailNoFrom) return "501 5.5.4";
      if (act == Act::kMailUnknown) return "555 5.5.4";
      return act == Act::kMail ? "250 2.1.0" : "552 5.3.4";
    case Act::kRcpt:
    case Act::kRcptBad:
    case Act::kRcptNoTo:
      if (!mail_ || chunks_) return "503 5.5.1";
      if (act == Act::kRcpt) return "250 2.1.5";
      return act == Act::kRcptBad ? "501 5.1.3" : "501 5.5.4";
    case Act::kData:
      if (chunks_) return "503 5.5.1";
      return ready ? "354" : std::string(not_ready);
    case Act::kContent:
      return std::string(end_of(fate));
    case Act::kChunk:
      if (!refused_.empty()) return refused_;
      return ready ? "250 2.0.0" : std::string(not_ready);
    case Act::kLastChunk:
      if (!refused_.empty()) return refused_;
      return std::string(ready ? end_of(fate) : not_ready);
    case Act::kReset:
    case Act::kNoop:
      return "250 2.0.0";
    case Act::kVerify:
      return "252 2.0.0";
    case Act::kHelp:
      return "214 2.0.0";
    case Act::kUnknown:
      return "500 5.5.1";
    case Act::kEmpty:
    case Act::kTooLong:
      return "500 5.5.2";
    case Act::kAuth:
      return "502 5.5.1";
    case Act::kQuit:
      return "221 2.0.0";
    case Act::kXclient:
      return "220";
    case Act::kXclientBad:
      return "501 5.5.4";
    case Act::kXclientOther:
      return "550 5.7.0";
    case Act::kStartTls:
      return tls_ || !hello_ || mail_ ? "503 5.5.1" : "220 2.0.0";
  }
  return "";
}

void Model::follow(Act act, std::string_view reply) {
  const bool good = reply[0] == '2' || reply[0] == '3';
  if (reply[0] == '5') ++errors_;
  if (reply.starts_with("421") || act == Act::kQuit) closed_ = true;
  switch (act) {
    case Act::kEhlo:
    case Act::kHelo:
      if (good) hello_ = true;
      [[fallthrough]];
    case Act::kReset:
    case Act::kContent:
    case Act::kLastChunk:
      // Octets that came without a transaction, or without recipients, end none.
      if (act == Act::kLastChunk && (reply == "554 5.5.1" || reply == "503 5.5.1")) return;
      mail_ = false;
      chunks_ = false;
      refused_.clear();
      recipients_ = 0;
      return;
    case Act::kMail:
      if (good) mail_ = true;
      return;
    case Act::kRcpt:
      if (good) ++recipients_;
      if (good) guesses_ = 0;
      if (reply == "550 5.1.1") ++guesses_;
      return;
    case Act::kStartTls:
      if (!good) return;
      hello_ = false;
      tls_ = true;
      return;
    case Act::kXclient:
      if (!good) return;
      hello_ = false;
      guesses_ = 0;
      return;
    case Act::kChunk:
      if (good) {
        chunks_ = true;
      } else if (chunks_ && refused_.empty()) {
        // The transaction is over.
        mail_ = false;
        chunks_ = false;
        recipients_ = 0;
      }
      return;
    default:
      return;
  }
}

std::string Model::judge(Act act, Fate fate, std::string_view reply, const Tolerance& tolerance,
                         const std::set<std::string>* right_ones) {
  std::string right = guessed_too_often() ? "421 4.7.0" : expected(act, fate);
  bool ok = reply == right;
  if (right_ones != nullptr && right[0] == '2') {
    ok = right_ones->contains(std::string(reply));
    right = fmt::format("{}", fmt::join(*right_ones, " or "));
  }
  // Content that is faulty is so at its last chunk, or as soon as that is seen.
  if (!ok && act == Act::kChunk && right[0] == '2' && shows_in_content(fate) &&
      reply == end_of(fate)) {
    refused_ = reply;
    return {};
  }
  if (!ok && tolerance.faults) {
    ok = reply.starts_with("421") || (may_be_put_off(act) && is_put_off(reply));
  }
  if (!ok && tolerance.slow) ok = reply == "421 4.4.2";
  // A verdict for which an answer was missing may be milder or put off, never better than that.
  if (!ok && tolerance.dns && (act == Act::kContent || act == Act::kLastChunk)) {
    ok = (fate == Fate::kReject && reply == "250 2.0.0") || reply == "451 4.4.5";
  }
  follow(act, reply);
  if (ok) return {};
  return fmt::format("{} ({}) is answered \"{}\" and not \"{}\"", name(act), name(fate), reply,
                     right);
}

}  // namespace mxring::sim
