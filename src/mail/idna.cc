#include "mail/idna.h"

#include <idn2.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "base/text.h"

namespace mxring::mail {

namespace {

// A name of 253 bytes in A-labels stands for fewer characters, each of at most four bytes. What is
// longer is not worth the library's time.
constexpr std::size_t kUnicodeBytesMax = 4 * kDomainBytesMax;

struct Idn2Free {
  void operator()(char* text) const { idn2_free(text); }
};

bool is_ascii(std::string_view text) {
  unsigned char seen = 0;  // in one go: a loop that may end early is not vectorised
  for (const char c : text) seen |= static_cast<unsigned char>(c);
  return seen < 0x80;
}

// UTS #46 maps some characters to ASCII marks ("℀" to "a/c") and others to nothing. libidn2 could
// look for that itself, but would then refuse underscores too.
bool is_name_in_a_labels(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  char before = '.';
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!plain || (c == '.' && before == '.')) return false;
    before = c;
  }
  return before != '.';
}

IdnaError error_of(int code) {
  switch (code) {
    case IDN2_MALLOC:
      return IdnaError::kMemory;
    case IDN2_ENCODING_ERROR:
    case IDN2_NFC:
    case IDN2_PUNYCODE_BAD_INPUT:
    case IDN2_PUNYCODE_OVERFLOW:
      return IdnaError::kEncoding;
    case IDN2_PUNYCODE_BIG_OUTPUT:
    case IDN2_TOO_BIG_DOMAIN:
    case IDN2_TOO_BIG_LABEL:
      return IdnaError::kTooLong;
    default:
      return IdnaError::kLabel;
  }
}

}  // namespace

std::expected<std::string_view, IdnaError> to_a_labels(std::string_view domain,
                                                       DomainBuffer& buffer) {
  if (is_ascii(domain)) return domain;
  if (domain.size() > kUnicodeBytesMax) return std::unexpected(IdnaError::kTooLong);
  // libidn2 reads up to a NUL.
  if (domain.find('\0') != std::string_view::npos) return std::unexpected(IdnaError::kLabel);
  if (!base::is_valid_utf8(domain)) return std::unexpected(IdnaError::kEncoding);
  std::array<char, kUnicodeBytesMax + 1> terminated;
  std::memcpy(terminated.data(), domain.data(), domain.size());
  terminated[domain.size()] = '\0';

  char* raw = nullptr;
  const int code = idn2_to_ascii_8z(terminated.data(), &raw, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
  const std::unique_ptr<char, Idn2Free> converted(raw);
  if (code != IDN2_OK) return std::unexpected(error_of(code));
  const std::string_view result = converted.get();
  if (!is_name_in_a_labels(result)) return std::unexpected(IdnaError::kLabel);
  const std::size_t size_max = kDomainBytesMax + (result.ends_with('.') ? 1 : 0);
  if (result.size() > size_max) return std::unexpected(IdnaError::kTooLong);
  std::ranges::copy(result, buffer.begin());
  return std::string_view(buffer.data(), result.size());
}

}  // namespace mxring::mail
