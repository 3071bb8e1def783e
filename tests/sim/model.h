// The reference model of the dialogue: for each command in turn, which replies there may be. It
// follows what the server answered, so that a command put off for lack of room is no divergence,
// and says so when an answer is not among those. Shares no code with src/smtp.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace mxring::sim {

enum class Act : std::uint8_t {
  kBanner,
  kEhlo,
  kHelo,
  kBadHello,  // without an argument
  kMail,
  kMailBad,      // no address there
  kMailNoFrom,   // MAIL TO:
  kMailUnknown,  // a parameter nobody knows
  kMailTooLarge,
  kRcpt,
  kRcptBad,
  kRcptNoTo,
  kData,
  kContent,  // what follows 354, with its end
  kChunk,    // BDAT without LAST, with its octets
  kLastChunk,
  kReset,
  kNoop,
  kVerify,
  kVerifyBare,
  kHelp,
  kUnknown,
  kEmpty,
  kTooLong,
  kAuth,
  kQuit,
  kXclient,
  kXclientBad,
  kXclientOther,  // from whom nobody believes
  kStartTls,
};

// What a message's end must be answered.
enum class Fate : std::uint8_t {
  kAccept,
  kQuarantine,
  kReject,  // 550 5.7.26
  kNul,
  kBareCr,
  kBareLf,
  kLongLine,
  kTooLarge,
  kNoAuthor,
  kNoField,
};

struct Tolerance {
  bool faults = false;  // 4xx in place of what would succeed
  bool slow = false;    // 421 4.4.2 at any time
  bool dns = false;     // verdicts may be missing
};

class Model {
 public:
  // "" when `reply` ("250 2.1.0", "250" for greetings) is a right answer to it; else which would
  // be.
  // `right_ones`, where not null, take the place of what a good command is answered.
  std::string judge(Act act, Fate fate, std::string_view reply, const Tolerance& tolerance,
                    const std::set<std::string>* right_ones = nullptr);
  // So many unknown recipients that the connection is at its end.
  bool guessed_too_often() const { return guesses_ >= kGuessesMax; }
  bool closed() const { return closed_; }
  void encrypted() { tls_ = true; }
  bool in_transaction() const { return mail_; }
  std::uint32_t recipients() const { return recipients_; }
  std::uint32_t errors() const { return errors_; }

 private:
  static constexpr std::uint32_t kGuessesMax = 20;
  std::string expected(Act act, Fate fate) const;
  void follow(Act act, std::string_view reply);

  bool hello_ = false;
  bool tls_ = false;
  bool mail_ = false;
  bool chunks_ = false;
  std::string refused_;  // what all chunks hear after one that was faulty
  std::uint32_t recipients_ = 0;
  std::uint32_t errors_ = 0;
  std::uint32_t guesses_ = 0;  // unknown recipients in a row
  bool closed_ = false;
};

std::string_view name(Act act);
std::string_view name(Fate fate);

}  // namespace mxring::sim
