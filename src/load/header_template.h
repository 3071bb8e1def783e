// The header section (RFC 5322) of a generated message: fixed text with places for what differs in
// every message. Rendering copies the pieces one after the other into a buffer that is kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::load {

// What the places are filled with.
struct HeaderValues {
  std::uint64_t number = 0;  // of the message in the run; makes the Message-ID unique
  std::string_view run_id;   // of the run; makes it unique between runs
  std::string_view date;     // RFC 5322 3.3
  std::string_view from;     // address
  std::string_view to;       // address
};

class HeaderTemplate {
 public:
  // In `text`, "{n}" stands for the number, "{run}", "{date}", "{from}" and "{to}" for the other
  // values; line ends are LF and become CRLF. No blank line at the end: render() adds it.
  explicit HeaderTemplate(std::string_view text);

  void render(const HeaderValues& values, std::string& out) const;

 private:
  enum class Place : std::uint8_t { kNone, kNumber, kRun, kDate, kFrom, kTo };
  struct Piece {
    std::string text;
    Place then = Place::kNone;
  };
  std::vector<Piece> pieces_;
};

// A realistic sender: envelope address and header section. `count` of them, of several domains and
// kinds of mail (people, shops, lists, notifications), made from a seed.
struct Sender {
  std::string address;
  HeaderTemplate header;
};
std::vector<Sender> make_senders(std::uint64_t seed, std::size_t count);

// The shortest header section we send, for messages too small to carry another.
HeaderTemplate compact_header();

// "Sun, 22 Nov 2026 02:31:18 +0000", always 31 characters.
std::string rfc5322_date(std::int64_t unix_seconds);

}  // namespace mxring::load
