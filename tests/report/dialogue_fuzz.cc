// A hostile mail server against the client's dialogue. The first byte says what TLS is for; 0xFF
// stands for a handshake that is done, where one is wanted. Whole and byte by byte the session is
// the same; no letter is decided without a reply; what is said stays lines of ours.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "report/client_dialogue.h"

namespace {

using namespace mxring::report;

constexpr char kHandshake = '\xFF';

struct Session {
  std::vector<Letter> letters = std::vector<Letter>(3);
  std::string said;
  std::string problem;
  bool over = false;
  std::uint64_t replies = 0;
};

Session play(std::string_view input, TlsUse tls, std::size_t piece) {
  Session session;
  std::vector<Letter*> pointers;
  for (Letter& letter : session.letters) {
    letter.mail_from = "a@mx.example";
    letter.rcpt_to = "b@example.org";
    letter.content = ".\r\n";
    pointers.push_back(&letter);
  }
  ClientDialogue dialogue("me.example", tls, pointers);
  while (!input.empty()) {
    if (input.front() == kHandshake) {
      if (dialogue.wants_tls()) dialogue.tls_done("TLSv1.3 X");
      input.remove_prefix(1);
    } else {
      const std::string_view bytes = input.substr(0, std::min(input.find(kHandshake), piece));
      dialogue.receive(bytes);
      input.remove_prefix(bytes.size());
    }
    session.said += dialogue.take_output();
  }
  session.problem = dialogue.problem();
  session.over = dialogue.over();
  session.replies = dialogue.replies();
  return session;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const auto tls = static_cast<TlsUse>(data[0] % 3);
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Session whole = play(input, tls, std::string_view::npos);
  const Session split = play(input, tls, 1);
  MXRING_ASSERT(whole.said == split.said && whole.problem == split.problem);
  MXRING_ASSERT(whole.over == split.over);
  // Each reply is answered with one command at most, and the longest is a letter.
  MXRING_ASSERT(whole.said.size() <= (whole.replies + 1) * 64);
  std::uint64_t decided = 0;
  for (std::size_t i = 0; i < whole.letters.size(); ++i) {
    const Letter& letter = whole.letters[i];
    MXRING_ASSERT(letter.fate == split.letters[i].fate && letter.reply == split.letters[i].reply);
    if (letter.fate == Fate::kUndecided) continue;
    ++decided;
    MXRING_ASSERT(letter.code != 0 || letter.fate == Fate::kTooLarge);
    MXRING_ASSERT(tls != TlsUse::kRequired || !letter.tls.empty());
  }
  MXRING_ASSERT(whole.replies >= (decided != 0 ? 2 : 0));
  return 0;
}
