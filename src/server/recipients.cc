#include "server/recipients.h"

#include <fmt/format.h>

#include "base/text.h"
#include "server/line_file.h"
#include "smtp/path.h"

namespace mxring::server {

namespace {

// What is known of a domain.
constexpr std::uint8_t kNamed = 1;      // it is served
constexpr std::uint8_t kEverybody = 2;  // "@example.org", or `domains` without a file
constexpr std::uint8_t kBelow = 4;      // "@.example.org": everybody in the domains below
static_assert((kNamed | kEverybody | kBelow) <= KeyTable::kFlagsMax);

}  // namespace

Recipients::Recipients(std::span<const std::string> domains, std::string_view extension)
    : extension_(extension), serves_all_(domains.empty()) {
  for (const std::string& domain : domains) {
    AddressKey key;
    const bool good_key = key.set_domain(domain);
    if (good_key) domains_.add(key.domain(), kNamed);
  }
}

std::expected<void, std::string> Recipients::add_entry(std::string_view entry) {
  if (entry.front() == '@') {
    entry.remove_prefix(1);
    const bool below = entry.starts_with('.');
    if (below) entry.remove_prefix(1);
    AddressKey key;
    const bool good_key = key.set_domain(entry);
    if (!good_key || !(smtp::is_domain(key.domain()) || smtp::is_address_literal(key.domain()))) {
      return std::unexpected(fmt::format("\"{}\" is no domain", base::escaped(entry)));
    }
    domains_.add(key.domain(), below ? kBelow : kNamed | kEverybody);
    return {};
  }
  AddressKey key;
  const bool good_key = key.set(entry);
  const bool usable = good_key && !key.domain().empty() &&
                      entry.find_first_of(" \t,;<>") == std::string_view::npos &&
                      is_written_well(entry) &&
                      (smtp::is_domain(key.domain()) || smtp::is_address_literal(key.domain()));
  if (!usable) {
    return std::unexpected(
        fmt::format("\"{}\" is no address; one a line: joe@example.org, "
                    "@example.org or @.example.org",
                    base::escaped(entry.substr(0, 80))));
  }
  domains_.add(key.domain(), kNamed);
  addresses_.add(key.whole(), 0);
  return {};
}

std::expected<void, FileError> Recipients::add_line(std::string_view line) {
  ++lines_;
  if (line.size() > kLineBytesMax) {
    return std::unexpected(FileError{lines_, "the line is too long for an address"});
  }
  const std::string_view entry = without_comment(line);
  if (entry.empty()) return {};
  if (auto added = add_entry(entry); !added) {
    return std::unexpected(FileError{lines_, std::move(added.error())});
  }
  return {};
}

std::expected<Recipients, std::string> Recipients::of(std::span<const std::string> entries,
                                                      std::string_view extension) {
  Recipients all({}, extension);
  all.has_file_ = true;
  all.serves_all_ = false;
  for (const std::string& entry : entries) {
    if (entry.empty()) return std::unexpected(std::string("\"\" is no address"));
    if (auto added = all.add_entry(entry); !added) return std::unexpected(added.error());
  }
  return all;
}

std::expected<void, FileError> Recipients::read(const std::string& path) {
  if (path.empty()) return {};
  has_file_ = true;
  serves_all_ = false;
  return for_each_line(path, kLineBytesMax,
                       [this](std::string_view line) { return add_line(line); });
}

Recipients::Answer Recipients::find(std::string_view mailbox) const {
  if (serves_all_) return Answer::kServed;
  AddressKey key;
  const bool good_key = key.set(mailbox);
  if (!good_key) return Answer::kNotOurs;
  const bool postmaster = key.local() == "postmaster";
  if (key.domain().empty()) return postmaster ? Answer::kServed : Answer::kUnknown;
  const std::uint8_t flags = domains_.find(key.domain()).value_or(0);
  const bool below = any_parent(key.domain(), [this](std::string_view parent) {
    return (domains_.find(parent).value_or(0) & kBelow) != 0;
  });
  if ((flags & kNamed) == 0 && !below) return Answer::kNotOurs;
  if (!has_file_ || postmaster || below || (flags & kEverybody) != 0) return Answer::kServed;
  if (addresses_.find(key.whole())) return Answer::kServed;
  const auto shorter = key.without_extension(extension_);
  return shorter && addresses_.find(*shorter) ? Answer::kServed : Answer::kUnknown;
}

bool Recipients::line_matches(std::string_view line, std::string_view mailbox,
                              std::string_view extension) {
  Recipients one({}, extension);
  one.has_file_ = true;
  one.serves_all_ = false;
  AddressKey key;
  const bool good_key = key.set(mailbox);
  if (!one.add_line(line) || !good_key || one.domains_.size() == 0) return false;
  // Postmaster is received whatever the file says, so no line decides for it unless it names it.
  if (key.local() == "postmaster" && one.addresses_.size() > 0) {
    return one.addresses_.find(key.whole()).has_value();
  }
  return one.find(mailbox) == Answer::kServed;
}

}  // namespace mxring::server
