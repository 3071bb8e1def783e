#include "server/address_key.h"

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

bool AddressKey::take_domain(std::string_view domain) {
  mail::DomainBuffer buffer;
  const auto name = mail::to_a_labels(domain, buffer);
  if (!name) return false;
  std::string_view ascii = *name;
  if (ascii.ends_with('.')) ascii.remove_suffix(1);
  if (ascii.empty() || ascii.size() > mail::kDomainBytesMax) return false;
  for (const char c : ascii) {
    if (c == '\0') return false;
    bytes_[domain_bytes_++] = base::ascii_lower(c);
  }
  bytes_[domain_bytes_] = '\0';
  return true;
}

bool AddressKey::take_local(std::string_view local) {
  const bool quoted = local.size() >= 2 && local.front() == '"' && local.back() == '"';
  if (quoted) local = local.substr(1, local.size() - 2);
  if (local.empty() || local.size() > kLocalBytesMax) return false;
  char* out = bytes_.data() + domain_bytes_ + 1;
  for (std::size_t i = 0; i < local.size(); ++i) {
    if (quoted && local[i] == '\\' && i + 1 < local.size()) ++i;
    out[local_bytes_++] = base::ascii_lower(local[i]);
  }
  return true;
}

bool AddressKey::set(std::string_view mailbox) {
  MXRING_ASSERT(domain_bytes_ == 0 && local_bytes_ == 0);
  const std::size_t at = mailbox.rfind('@');
  if (at == std::string_view::npos) {
    bytes_[0] = '\0';
    return take_local(mailbox);
  }
  return take_domain(mailbox.substr(at + 1)) && take_local(mailbox.substr(0, at));
}

bool is_written_well(std::string_view mailbox) {
  const std::string_view local = mailbox.substr(0, mailbox.rfind('@'));
  const bool quoted = local.size() >= 2 && local.front() == '"' && local.back() == '"';
  for (const char c : mailbox) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
  }
  return quoted || local.find_first_of("@\",;:<>()[]\\ ") == std::string_view::npos;
}

std::optional<std::string_view> AddressKey::without_extension(std::string_view extension) const {
  if (extension.empty()) return std::nullopt;
  const std::size_t found = local().find_first_of(extension);
  if (found == std::string_view::npos || found == 0) return std::nullopt;
  return whole().substr(0, domain_bytes_ + 1 + found);
}

}  // namespace mxring::server
