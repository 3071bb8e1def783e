#include "report/audience.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "base/text.h"
#include "report/delivery_sheet.h"

namespace mxring::report {

namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kFileBytesMax = 64 << 20;

std::string_view trimmed(std::string_view line, std::string_view comment) {
  line = line.substr(0, line.find(comment));
  const std::size_t first = line.find_first_not_of(" \t\r");
  if (first == line.npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") + 1 - first);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
  return out;
}

// Calls `take` with each line that says something, and its number, until it returns false.
template <class Take>
void for_each_line(std::string_view text, std::string_view comment, Take&& take) {
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end), comment);
    if (!line.empty() && !take(line, number)) return;
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
}

}  // namespace

void DomainSet::add(std::string_view domain) {
  if (domain.ends_with('.')) domain.remove_suffix(1);
  domains_.insert(lower(domain));
}

bool DomainSet::covers(std::string_view domain) const {
  const std::string name = lower(domain);
  for (std::string_view at = name;;) {
    if (domains_.contains(at)) return true;
    const std::size_t dot = at.find('.');
    if (dot == at.npos) return false;
    at.remove_prefix(dot + 1);
  }
}

std::expected<DomainSet, std::string> read_domains(const fs::path& file) {
  const auto text = read_file(file, kFileBytesMax);
  if (!text) return std::unexpected(text.error());
  DomainSet domains;
  std::string problem;
  for_each_line(*text, "#", [&](std::string_view line, std::size_t number) {
    const bool plain = line.find_first_of(" \t@,;*") == line.npos;
    if (plain) {
      domains.add(line);
    } else {
      problem = fmt::format("{}:{}: \"{}\" is not a domain; write one a line",
                            base::escaped(file.string()), number, base::escaped(line));
    }
    return plain;
  });
  if (!problem.empty()) return std::unexpected(std::move(problem));
  return domains;
}

std::string_view word(Withheld why) {
  switch (why) {
    case Withheld::kNo:
      return "no";
    case Withheld::kDenied:
      return "denied";
    case Withheld::kNotAllowed:
      return "not-allowed";
    case Withheld::kNonePassed:
      return "none-passed";
    case Withheld::kFew:
      return "few-messages";
    case Withheld::kDayIsFull:
      return "day-is-full";
  }
  return "";
}

std::string_view explain(Withheld why) {
  switch (why) {
    case Withheld::kNo:
      break;
    case Withheld::kDenied:
      return "in the list of --deny";
    case Withheld::kNotAllowed:
      return "not in the list of --allow";
    case Withheld::kNonePassed:
      return "fewer messages that pass DMARC than --passes-min";
    case Withheld::kFew:
      return "fewer messages than --messages-min";
    case Withheld::kDayIsFull:
      return "more reports in a day than --per-day";
  }
  return "";
}

Withheld withheld(std::string_view domain, const DomainAggregate& sum,
                  const AudienceOptions& options) {
  if (options.denied.covers(domain)) return Withheld::kDenied;
  if (!options.allowed.empty() && !options.allowed.covers(domain)) return Withheld::kNotAllowed;
  if (sum.passed < options.passes_min) return Withheld::kNonePassed;
  if (sum.messages < options.messages_min) return Withheld::kFew;
  return Withheld::kNo;
}

std::expected<Refusals, std::string> Refusals::read(const fs::path& folder) {
  Refusals refusals;
  refusals.file_ = folder / kFile;
  std::error_code ignored;
  if (!fs::exists(refusals.file_, ignored)) return refusals;
  auto text = read_file(refusals.file_, kFileBytesMax);
  if (!text) return std::unexpected(text.error());
  refusals.text_ = *std::move(text);
  // A local part may have the sign in it; a comment has a blank before it.
  for_each_line(refusals.text_, " #", [&](std::string_view line, std::size_t) {
    if (!line.starts_with('#')) refusals.addresses_.emplace(line);
    return true;
  });
  return refusals;
}

std::expected<void, std::string> Refusals::add(std::string_view address, std::string_view day,
                                               std::string_view reply) {
  if (has(address)) return {};
  if (!text_.empty() && !text_.ends_with('\n')) text_ += '\n';
  text_ += fmt::format("{}  # {} {}\n", address, day, base::escaped(reply));
  if (auto written = write_file(file_, text_); !written) return written;
  addresses_.emplace(address);
  return {};
}

}  // namespace mxring::report
