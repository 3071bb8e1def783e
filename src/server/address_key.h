// Addresses and domains as the keys of recipient and access files: domains in lower-case A-labels
// (RFC 5890; RFC 6531 3.2: a U-label and its A-label are one name) without a last dot, local parts
// without ASCII case and without quotes that nothing needs (RFC 5321 4.1.2: "joe"@ is joe@).
//
// Pure; into the caller's memory.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "mail/idna.h"

namespace mxring::server {

// An address taken apart, its parts in the form in which they are compared.
class AddressKey {
 public:
  static constexpr std::size_t kLocalBytesMax = 512;

  // `mailbox` is local@domain, or a local part alone (postmaster), whose domain is then empty.
  // False for what cannot be an address: an empty part, one that is too long, a domain that IDNA
  // refuses. The object is then to be made anew.
  [[nodiscard]] bool set(std::string_view mailbox);
  [[nodiscard]] bool set_domain(std::string_view domain) { return take_domain(domain); }

  std::string_view local() const { return {bytes_.data() + domain_bytes_ + 1, local_bytes_}; }
  std::string_view domain() const { return {bytes_.data(), domain_bytes_}; }
  // "example.org\0joe": what a table of addresses holds; no domain has a NUL.
  std::string_view whole() const { return {bytes_.data(), domain_bytes_ + 1 + local_bytes_}; }
  // The same without what follows the first `extension` character in the local part; nothing when
  // there is none, or nothing before it.
  std::optional<std::string_view> without_extension(std::string_view extension) const;

 private:
  bool take_domain(std::string_view domain);
  bool take_local(std::string_view local);

  std::size_t domain_bytes_ = 0;
  std::size_t local_bytes_ = 0;
  std::array<char, mail::kDomainBytesMax + 2 + kLocalBytesMax> bytes_;
};

// Whether a file may say this of an address: no control bytes, and in a local part without quotes
// none of what only quotes allow (RFC 5321 4.1.2), so that a slip such as a@b@c is a mistake and
// not an address that nobody has.
bool is_written_well(std::string_view mailbox);

// Calls `each` with example.org, org for a.example.org: the names that "all below" may be said of.
// Ends when it returns true.
template <class Each>
bool any_parent(std::string_view domain, Each each) {
  for (std::size_t dot = domain.find('.'); dot != std::string_view::npos; dot = domain.find('.')) {
    domain.remove_prefix(dot + 1);
    if (!domain.empty() && each(domain)) return true;
  }
  return false;
}

}  // namespace mxring::server
