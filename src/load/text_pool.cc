#include "load/text_pool.h"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "base/assert.h"
#include "load/random.h"

namespace mxring::load {

namespace {

constexpr std::size_t kColumns = 76;
constexpr std::string_view kEndOfData = "\r\n.\r\n";
// What one line can leave over, and the line before it when a single byte would be left.
constexpr std::size_t kTailText = 3 * kColumns;

// Short words are drawn more often, as in prose: a word's place is the smaller of two draws.
constexpr std::string_view kWords[] = {
    "the",       "of",          "and",      "to",       "in",        "is",        "we",
    "for",       "it",          "that",     "on",       "with",      "as",        "at",
    "be",        "this",        "are",      "from",     "or",        "not",       "you",
    "will",      "have",        "can",      "has",      "all",       "our",       "one",
    "day",       "more",        "when",     "they",     "there",     "been",      "week",
    "please",    "order",       "report",   "river",    "after",     "morning",   "number",
    "meeting",   "between",     "because",  "delivery", "harbour",   "invoice",   "garden",
    "question",  "evening",     "schedule", "mountain", "attached",  "received",  "customer",
    "request",   "yesterday",   "tomorrow", "account",  "travel",    "northern",  "weather",
    "thank",     "regarding",   "shipment", "library",  "timetable", "necessary", "department",
    "agreement", "conversation"};

std::string_view draw_word(Random& random) {
  return kWords[std::min(random.below(std::size(kWords)), random.below(std::size(kWords)))];
}

// One line without its CRLF, dots not yet doubled. About one in ten is blank, one in sixteen begins
// with a dot, one in eight is quoted; the rest is ragged on the right.
std::string draw_line(Random& random) {
  const std::uint64_t kind = random.below(80);
  if (kind < 8) return "";
  std::string line;
  if (kind < 13) line.append(1 + random.below(3), '.');
  if (kind >= 13 && kind < 23) line += "> ";
  if (kind == 12) return line;  // dots alone, the line that looks like the end of data
  const std::size_t width = kind < 30 ? 1 + random.below(kColumns) : kColumns - random.below(12);
  while (line.size() < width) {
    line += draw_word(random);
    line += random.below(14) == 0 ? ", " : " ";
  }
  line.resize(std::min(line.size(), kColumns));
  while (line.ends_with(' ')) line.pop_back();
  return line;
}

iovec slice(std::string_view bytes) {
  // The kernel only reads what it is told to send; iovec has no const.
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace

TextPool::TextPool(std::uint64_t seed, std::size_t wire_bytes, bool chunks) {
  Random random(seed);
  wire_.reserve(wire_bytes + kColumns + 3);
  std::uint64_t content = 0;
  while (wire_.size() < wire_bytes) {
    starts_.push_back({wire_.size(), content});
    const std::string line = draw_line(random);
    if (line.starts_with('.') && !chunks) wire_ += '.';
    wire_ += line;
    wire_ += "\r\n";
    content += line.size() + 2;
  }
  starts_.push_back({wire_.size(), content});
  while (tail_.size() < kTailText) {
    tail_ += draw_word(random);
    tail_ += ' ';
  }
  // No dot and no blank: any of these bytes may come to stand at the start of a line.
  tail_.back() = 's';
  tail_ += kEndOfData;
}

void TextPool::push(std::size_t from, std::size_t to, std::vector<iovec>& out) const {
  if (from == to) return;
  out.push_back(slice(
      std::string_view(wire_).substr(starts_[from].wire, starts_[to].wire - starts_[from].wire)));
}

void TextPool::cut(std::uint64_t first_line, std::uint64_t content_bytes,
                   std::vector<iovec>& out) const {
  MXRING_ASSERT(content_bytes != 1);
  std::size_t line = static_cast<std::size_t>(first_line % lines());
  std::uint64_t left = content_bytes;
  // Whole rounds through the pool, as long as they do not leave a single byte.
  for (;;) {
    const std::uint64_t rest = starts_.back().content - starts_[line].content;
    if (left != rest && left < rest + 2) break;
    push(line, lines(), out);
    left -= rest;
    line = 0;
    if (left == 0) break;
  }
  // Then as many whole lines as fit, and the end of the tail for what is missing.
  const std::uint64_t end = starts_[line].content + left;
  const auto above = std::ranges::upper_bound(starts_, end, {}, &Start::content);
  auto stop = static_cast<std::size_t>(above - starts_.begin()) - 1;
  if (end - starts_[stop].content == 1) --stop;
  push(line, stop, out);
  const std::uint64_t fill = end - starts_[stop].content;
  const std::size_t dot_bytes = kEndOfData.size() - 2;
  MXRING_ASSERT(stop >= line && fill + dot_bytes < tail_.size());
  out.push_back(slice(std::string_view(tail_).substr(tail_.size() - dot_bytes - fill)));
}

}  // namespace mxring::load
