#include "smtp/parameters.h"

#include <limits>

#include "base/text.h"
#include "smtp/reply.h"

namespace mxring::smtp {

namespace {

enum Seen : std::uint8_t {
  kSize = 1,
  kBody = 2,
  kSmtpUtf8 = 4,
  kRet = 8,
  kEnvid = 16,
  kNotify = 32,
  kOrcpt = 64,
  kRequireTls = 128,
};

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'z');
}

bool has_high_byte(std::string_view text) {
  bool found = false;
  for (const char c : text) found |= static_cast<unsigned char>(c) >= 0x80;
  return found;
}

bool is_keyword(std::string_view text) {
  if (text.empty() || !is_alnum(text[0])) return false;
  for (const char c : text) {
    if (!is_alnum(c) && c != '-') return false;
  }
  return true;
}

bool is_hex(char c, bool lower_case) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (lower_case && c >= 'a' && c <= 'f');
}

// False when seen before.
bool first_time(std::uint8_t& seen, Seen which) {
  if ((seen & which) != 0) return false;
  seen = static_cast<std::uint8_t>(seen | which);
  return true;
}

// RFC 1870 3: 1*20DIGIT. What does not fit 64 bits is larger than any limit all the same.
bool parse_size(std::string_view text, std::uint64_t& size) {
  if (text.empty() || text.size() > 20) return false;
  std::uint64_t sum = 0;
  bool overflow = false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (sum > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) overflow = true;
    sum = sum * 10 + digit;
  }
  size = overflow ? std::numeric_limits<std::uint64_t>::max() : sum;
  return true;
}

// RFC 3461 4.1: NEVER alone, or a list of the others.
std::uint8_t parse_notify(std::string_view text) {
  if (base::ascii_iequals(text, "NEVER")) return kNotifyNever;
  unsigned notify = 0;
  for (;;) {
    const std::size_t comma = text.find(',');
    const std::string_view word = text.substr(0, comma);
    unsigned bit = 0;
    if (base::ascii_iequals(word, "SUCCESS")) bit = kNotifySuccess;
    if (base::ascii_iequals(word, "FAILURE")) bit = kNotifyFailure;
    if (base::ascii_iequals(word, "DELAY")) bit = kNotifyDelay;
    if (bit == 0) return 0;
    notify |= bit;
    if (comma == std::string_view::npos) return static_cast<std::uint8_t>(notify);
    text.remove_prefix(comma + 1);
  }
}

// RFC 3461 4.2: addr-type ";" xtext. RFC 6533 3 puts UTF-8 in its place for type utf-8.
bool is_original_recipient(std::string_view text, const Leniency& leniency) {
  if (text.size() > kOrcptBytesMax) return false;
  const std::size_t semicolon = text.find(';');
  if (semicolon == std::string_view::npos || !is_keyword(text.substr(0, semicolon))) return false;
  const std::string_view type = text.substr(0, semicolon);
  const std::string_view address = text.substr(semicolon + 1);
  if (address.empty()) return false;
  if (!base::ascii_iequals(type, "utf-8")) return is_xtext(address, leniency.xtext_lower_case);
  for (const char c : address) {
    if (c == '=') return false;
  }
  return true;
}

}  // namespace

ReplyId reply_for(ParameterError error) {
  return error == ParameterError::kUnknown ? replies::kUnknownParameter : replies::kBadParameter;
}

bool is_xtext(std::string_view text, bool lower_case) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c <= ' ' || c > '~' || c == '=') return false;
    if (c != '+') continue;
    if (at + 2 >= text.size()) return false;
    if (!is_hex(text[at + 1], lower_case) || !is_hex(text[at + 2], lower_case)) return false;
    at += 2;
  }
  return true;
}

std::optional<Parameter> ParameterReader::next() {
  while (text_.starts_with(' ')) text_.remove_prefix(1);
  if (text_.empty() || failed_) return std::nullopt;
  const std::string_view word = text_.substr(0, text_.find(' '));
  text_.remove_prefix(word.size());
  Parameter parameter;
  const std::size_t equals = word.find('=');
  parameter.keyword = word.substr(0, equals);
  if (equals != std::string_view::npos) {
    parameter.has_value = true;
    parameter.value = word.substr(equals + 1);
  }
  failed_ = !is_keyword(parameter.keyword) || (parameter.has_value && parameter.value.empty());
  if (has_high_byte(parameter.value)) {
    utf8_ = true;
    failed_ = failed_ || !base::is_valid_utf8(parameter.value);
  }
  if (failed_) return std::nullopt;
  return parameter;
}

ParameterError apply_mail_parameter(const Parameter& parameter, const Leniency& leniency,
                                    std::uint8_t& seen, MailArguments& mail) {
  const auto keyword_is = [&](std::string_view name) {
    return base::ascii_iequals(parameter.keyword, name);
  };
  const auto value_is = [&](std::string_view name) {
    return base::ascii_iequals(parameter.value, name);
  };
  bool good = false;
  if (keyword_is("SIZE")) {
    if (!first_time(seen, kSize)) return ParameterError::kUnknown;
    good = parse_size(parameter.value, mail.declared_size);
  } else if (keyword_is("BODY")) {
    if (!first_time(seen, kBody)) return ParameterError::kUnknown;
    if (value_is("7BIT")) mail.body = BodyType::k7Bit;
    if (value_is("8BITMIME")) mail.body = BodyType::k8BitMime;
    if (value_is("BINARYMIME")) mail.body = BodyType::kBinaryMime;
    good = mail.body != BodyType::kUnstated;
  } else if (keyword_is("SMTPUTF8")) {
    if (!first_time(seen, kSmtpUtf8)) return ParameterError::kUnknown;
    mail.smtputf8 = true;
    good = !parameter.has_value;
  } else if (keyword_is("REQUIRETLS")) {
    if (!first_time(seen, kRequireTls)) return ParameterError::kUnknown;
    mail.requiretls = true;
    good = !parameter.has_value;
  } else if (keyword_is("RET")) {
    if (!first_time(seen, kRet)) return ParameterError::kUnknown;
    if (value_is("FULL")) mail.dsn_return = DsnReturn::kFull;
    if (value_is("HDRS")) mail.dsn_return = DsnReturn::kHeaders;
    good = mail.dsn_return != DsnReturn::kUnstated;
  } else if (keyword_is("ENVID")) {
    if (!first_time(seen, kEnvid)) return ParameterError::kUnknown;
    mail.envelope_id = parameter.value;
    good = parameter.has_value && parameter.value.size() <= kEnvidBytesMax &&
           is_xtext(parameter.value, leniency.xtext_lower_case);
  } else if (keyword_is("AUTH") && leniency.auth_parameter) {
    good = true;  // RFC 4954 5: who submitted it first; nobody is authenticated here
  } else {
    return ParameterError::kUnknown;
  }
  return good ? ParameterError::kNone : ParameterError::kBadValue;
}

ParameterError apply_rcpt_parameter(const Parameter& parameter, const Leniency& leniency,
                                    std::uint8_t& seen, Envelope::Recipient& recipient) {
  bool good = false;
  if (base::ascii_iequals(parameter.keyword, "NOTIFY")) {
    if (!first_time(seen, kNotify)) return ParameterError::kUnknown;
    recipient.notify = parse_notify(parameter.value);
    good = recipient.notify != 0;
  } else if (base::ascii_iequals(parameter.keyword, "ORCPT")) {
    if (!first_time(seen, kOrcpt)) return ParameterError::kUnknown;
    recipient.original = parameter.value;
    good = is_original_recipient(parameter.value, leniency);
  } else {
    return ParameterError::kUnknown;
  }
  return good ? ParameterError::kNone : ParameterError::kBadValue;
}

}  // namespace mxring::smtp
