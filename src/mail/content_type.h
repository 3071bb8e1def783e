// Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2183) with their parameters: quoted or
// not, with comments, continued and in a charset of their own (RFC 2231). Linear time.
//
// What real mail does and is taken: no subtype, spaces around "/" and "=", empty parameters,
// missing semicolons between parameters, encoded words in quotes (RFC 2047 5 forbids them), a name
// twice (the first counts).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "mail/charset.h"

namespace mxring::mail {

struct Parameter {
  std::string name;   // lower case
  std::string value;  // UTF-8
};

struct MediaField {
  std::string type;     // lower case: "text", "attachment"
  std::string subtype;  // lower case; empty when there is none
  std::vector<Parameter> parameters;
  bool truncated = false;  // it had more than kParametersMax parameters or kParameterBytesMax bytes

  const std::string* find(std::string_view name) const&;
  const std::string* find(std::string_view name) const&& = delete;
  bool is(std::string_view wanted_type, std::string_view wanted_subtype) const {
    return type == wanted_type && subtype == wanted_subtype;
  }
};

constexpr std::size_t kParametersMax = 64;
constexpr std::size_t kParameterBytesMax = 16 * 1024;

class MediaFieldParser {
 public:
  // Replaces `out`, whose memory is kept.
  void parse(std::string_view value, CharsetDecoder& charsets, MediaField& out);

 private:
  struct Segment {
    std::string name;  // without section number and "*"
    std::string value;
    std::uint32_t section = 0;
    bool sectioned = false;
    bool extended = false;  // percent-encoded
  };
  struct Joined {  // its bytes are in scratch_
    std::string_view charset;
    bool extended = false;
  };
  std::string_view read_value();
  bool read_parameter();
  void skip_white();
  Joined join_sections(std::string_view name);
  void add_section(const Segment& segment, bool first, Joined& joined);
  void join(CharsetDecoder& charsets, MediaField& out);
  Segment& next_segment();

  std::string_view rest_;
  std::string scratch_;
  std::vector<Segment> segments_;
  std::size_t used_ = 0;
};

}  // namespace mxring::mail
