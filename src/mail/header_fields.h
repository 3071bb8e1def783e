// The fields of a header section that lies in memory as a whole: of a part, of a message inside a
// message, of a group of a delivery status. Lines end in CRLF or LF, since what a transfer encoding
// hid from SMTP has either. Where a section ends is the same as in HeaderIndex: at the empty line,
// or where a line begins that is neither a field nor the continuation of one.
//
// Pure, linear time; appends to a vector that the caller keeps. The views are into the text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mxring::mail {

struct HeaderField {
  std::string_view name;   // as it stands; white space before the colon not included
  std::string_view value;  // after the colon, folding included, last line end not
};

struct HeaderBudget {
  std::size_t bytes = 128 * 1024;
  std::size_t fields = 1000;
};

struct HeaderSection {
  std::size_t bytes = 0;       // up to the empty line, or to where the body begins without one
  std::size_t body_begin = 0;  // after the empty line
  bool over_bytes = false;     // the section goes on beyond the budget: fields there are left out
  bool over_fields = false;
};

// Which lines belong to a header section, one line at a time. A line comes with its line end.
class HeaderScanner {
 public:
  HeaderScanner(const HeaderBudget& budget, std::vector<HeaderField>& out)
      : budget_(budget), out_(out), first_(out.size()) {}

  enum class Line : std::uint8_t {
    kTaken,
    kEmpty,    // the end; the body begins after it
    kForeign,  // the body begins with it
  };
  Line take(std::string_view line);

  bool over_bytes() const { return over_bytes_; }
  bool over_fields() const { return over_fields_; }

 private:
  HeaderBudget budget_;
  std::vector<HeaderField>& out_;
  std::size_t first_;
  std::size_t bytes_ = 0;
  bool in_field_ = false;  // the last line was of a field, kept or not
  bool kept_ = false;      // and the field is the last in out_
  bool over_bytes_ = false;
  bool over_fields_ = false;
};

HeaderSection scan_header(std::string_view text, const HeaderBudget& budget,
                          std::vector<HeaderField>& out);

// The line at the start of `text`, with its line end.
std::string_view first_line(std::string_view text);
std::string_view without_line_end(std::string_view line);
std::string_view trimmed(std::string_view text);  // white space and line ends at both ends

// The first of that name (any case); null when there is none.
const HeaderField* find_field(const HeaderField* begin, const HeaderField* end,
                              std::string_view name);

}  // namespace mxring::mail
