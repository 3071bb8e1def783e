// Questions and answers as text, one per line, so that an evaluation can be kept and repeated years
// later, and so that tests can be given their DNS:
//
//   example.org TXT answer 300 "v=spf1 mx -all" "other text"
//   example.org MX answer 300 10 mx1.example.org 20 mx2.example.org
//   none.example.org A no-such-name 60
//   www.example.org A answer 300 192.0.2.1 alias host.example.org
//
// Names are escaped as dns::Name does; in quoted text `"`, `\` and everything outside printable
// ASCII is \DDD.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dns/question.h"
#include "dns/record.h"

namespace mxring::dns {

struct TranscriptLine {
  Question question;
  AnswerPtr answer;
};

// With its line end.
std::string transcript_line(const Question& question, const Answer& answer);
// Without its line end. Nothing when it is malformed.
std::optional<TranscriptLine> parse_transcript_line(std::string_view line);

// "text" as above.
std::string quoted(std::string_view text);

}  // namespace mxring::dns
