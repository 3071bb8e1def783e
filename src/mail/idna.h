// Internationalised domain names as DNS knows them: U-labels become A-labels, "köln.de" becomes
// "xn--kln-sna.de" (RFC 5890 to 5893 for the names, UTS #46 non-transitional for how people write
// them; RFC 6531 3.2, RFC 7208 4.3 and RFC 8616 for where mail needs it). The one user of libidn2.
//
// Pure, on any thread. A name in ASCII is returned as it is, without a copy, a check or an
// allocation; libidn2 allocates for the others and the result is copied out of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <string_view>

namespace mxring::mail {

enum class IdnaError : std::uint8_t {
  kEncoding,  // not UTF-8, or an A-label in it that decodes to nothing
  kLabel,     // a character, a label or an order of characters that no domain name may have
  kTooLong,   // a label over 63 bytes or a name over 253
  kMemory,    // libidn2 had none
};

constexpr std::size_t kDomainBytesMax = 253;  // without the last dot
using DomainBuffer = std::array<char, kDomainBytesMax + 1>;

// `domain` with every label in ASCII: a view of `domain` itself when it was, else of `buffer`.
// What was converted is in lower case and holds letters, digits, hyphens, underscores and single
// dots only, one of them perhaps at the end: no mapping can bring in another mark or an empty
// label. Names that were in ASCII before may hold anything, and have to be looked at by whoever
// asks DNS for them.
[[nodiscard]] std::expected<std::string_view, IdnaError> to_a_labels(std::string_view domain,
                                                                     DomainBuffer& buffer);

}  // namespace mxring::mail
