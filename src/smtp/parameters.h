// ESMTP parameters of MAIL and RCPT (RFC 5321 4.1.2 "esmtp-param"): splitting, and one function per
// command that applies a parameter. Pure; views into the line.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "smtp/command.h"

namespace mxring::smtp {

// RFC 3461 4.4 and 4.2.
constexpr std::size_t kEnvidBytesMax = 100;
constexpr std::size_t kOrcptBytesMax = 500;

enum class ParameterError : std::uint8_t {
  kNone,
  kUnknown,  // not a parameter of this command, or given twice
  kBadValue,
};
ReplyId reply_for(ParameterError error);

struct Parameter {
  std::string_view keyword;
  std::string_view value;
  bool has_value = false;
};

// Walks " key=value key2". After the last parameter next() gives nothing; so it does at a malformed
// one, and failed() tells the two apart.
class ParameterReader {
 public:
  explicit ParameterReader(std::string_view text) : text_(text) {}
  std::optional<Parameter> next();
  bool failed() const { return failed_; }
  bool utf8() const { return utf8_; }  // some value had (valid) UTF-8

  std::uint8_t seen = 0;  // one bit per parameter, set by the apply functions

 private:
  std::string_view text_;
  bool failed_ = false;
  bool utf8_ = false;
};

// SIZE BODY SMTPUTF8 REQUIRETLS RET ENVID, and AUTH, which is ignored.
ParameterError apply_mail_parameter(const Parameter& parameter, const Leniency& leniency,
                                    std::uint8_t& seen, MailArguments& mail);
// NOTIFY ORCPT.
ParameterError apply_rcpt_parameter(const Parameter& parameter, const Leniency& leniency,
                                    std::uint8_t& seen, Envelope::Recipient& recipient);

// RFC 3461 4: printable ASCII but "+" and "=", or "+" and two upper case hexadecimal digits; lower
// case too where that is allowed.
bool is_xtext(std::string_view text, bool lower_case = false);

}  // namespace mxring::smtp
