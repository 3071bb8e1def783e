#include "mailauth/dmarc/report_destination.h"

#include <algorithm>

#include "base/text.h"
#include "mail/mailbox.h"
#include "mailauth/dmarc/author_strict.h"
#include "mailauth/dmarc/record.h"

namespace mxring::mailauth::dmarc {

namespace {

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = base::ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// Percent escapes undone. Nothing for a malformed one.
std::optional<std::string> unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const int high = i + 2 < text.size() ? hex_value(text[i + 1]) : -1;
    const int low = i + 2 < text.size() ? hex_value(text[i + 2]) : -1;
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

}  // namespace

std::optional<ReportAddress> report_address(std::string_view uri) {
  constexpr std::string_view kScheme = "mailto:";
  if (uri.size() < kScheme.size() || !base::ascii_iequals(uri.substr(0, kScheme.size()), kScheme)) {
    return std::nullopt;
  }
  uri.remove_prefix(kScheme.size());
  auto address = unescaped(uri.substr(0, uri.find('?')));
  // What goes into RCPT TO is the address and nothing else: no name, no brackets, no comment.
  if (!address || address->find_first_of("<>() \t\r\n") != std::string::npos) return std::nullopt;
  AuthorScratch scratch;
  const auto host = parse_strict_author(*address, scratch).domain;
  if (!host || host->starts_with('[')) return std::nullopt;
  return ReportAddress{std::move(*address), std::string(*host)};
}

std::optional<dns::Question> destination_question(std::string_view policy_domain,
                                                  std::string_view host) {
  std::string text(policy_domain);
  text += "._report._dmarc.";
  text += host;
  const auto name = dns::Name::parse(text);
  if (!name) return std::nullopt;
  return dns::Question{*name, dns::Type::kTxt};
}

bool takes_reports(const dns::Answer& answer) {
  return answer.status == dns::Status::kAnswer &&
         std::ranges::any_of(answer.texts, is_dmarc_record);
}

}  // namespace mxring::mailauth::dmarc
