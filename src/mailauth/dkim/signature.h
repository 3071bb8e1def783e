// One DKIM-Signature field, parsed (RFC 6376 3.5, 6.1.1; RFC 8301 3.1, RFC 8463 3, RFC 8616 4).
//
// Pure. The parsed field points into the field's text; what outlives the text is copied out of it.
// Failure: what is wrong with the field, with the result it means.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/sha256.h"
#include "dns/name.h"
#include "mailauth/dkim/canonicalization.h"
#include "mailauth/dkim/tag_list.h"
#include "mailauth/result/result.h"

namespace mxring::mailauth::dkim {

enum class Algorithm : std::uint8_t { kRsaSha256, kRsaSha1, kEd25519Sha256 };

// What is wrong with a signature or its key, and the result of it.
struct Problem {
  Result result = Result::kNeutral;
  std::string_view what;   // a constant
  std::string_view where;  // may be empty; untrusted bytes of the field or record
};

// Names in h= that are looked at: each is a search, and mail has a few dozen at most. More: policy.
constexpr std::size_t kSignedNamesMax = 300;

struct Signature {
  Algorithm algorithm = Algorithm::kRsaSha256;
  Canonicalization header = Canonicalization::kSimple;
  Canonicalization body = Canonicalization::kSimple;
  dns::Name domain;                         // d=, A-labels
  dns::Name selector;                       // s=, A-labels
  std::string_view signed_fields;           // h=, as written
  std::string_view algorithm_text;          // a=
  std::string_view signature_text;          // b=, as written
  std::string_view signature_raw;           // b= with the white space around it: what is left out
  std::string_view identity_text;           // i=, encoded as written; empty: none
  std::string_view copied_fields;           // z=
  std::optional<std::uint64_t> body_bytes;  // l=
  std::optional<std::uint64_t> signed_at;   // t=, seconds since 1970
  std::optional<std::uint64_t> expires_at;  // x=
  bool identity_below = false;              // i= is of a subdomain of d=
  crypto::Sha256Digest body_hash{};         // bh=
};

// The fields that have this syntax. ARC's have no v=, and their i= is an instance, which whoever
// knows ARC reads; a seal covers no body and chooses no fields (RFC 8617 4.1.2, 4.1.3).
enum class SignatureKind : std::uint8_t { kDkim, kArcMessage, kArcSeal };

class SignatureParser {
 public:
  // `value`: what stands behind the field name's colon. Replaces all of `signature`; with a problem
  // as much of it as could be read. `signature_bytes` becomes b= decoded; its memory is kept.
  [[nodiscard]] std::optional<Problem> parse(std::string_view value, Signature& signature,
                                             std::string& signature_bytes,
                                             SignatureKind kind = SignatureKind::kDkim);
  // A tag of the field just parsed; null when it has none of that name.
  const Tag* tag(std::string_view name) const { return find_tag(tags_, name); }

 private:
  std::optional<Problem> read_names(Signature& signature);
  std::optional<Problem> read_identity(Signature& signature);
  std::optional<Problem> read_algorithm(Signature& signature);
  std::optional<Problem> read_canonicalization(Signature& signature);
  std::optional<Problem> read_body_hash(Signature& signature);
  std::optional<Problem> read_signature(Signature& signature, std::string& signature_bytes) const;
  std::optional<Problem> read_signed_fields(Signature& signature);
  std::optional<Problem> read_numbers(Signature& signature, SignatureKind kind) const;
  std::string_view value_of(std::string_view name) const;

  std::vector<Tag> tags_;  // of the field at hand
  std::string decoded_;
};

// A domain name as d=, s= and i= have it: letters, digits, hyphens and underscores in every label
// after conversion to A-labels (RFC 8616 4).
std::optional<dns::Name> parse_domain(std::string_view text);

// dkim-quoted-printable (RFC 6376 2.11): replaces `out`. Malformed escapes stay as they are.
void decode_quoted(std::string_view text, std::string& out);

// SELECTOR._domainkey.DOMAIN (RFC 6376 3.6.2.1), or nothing when that is too long for a name.
std::optional<dns::Name> key_name(const dns::Name& selector, const dns::Name& domain);

}  // namespace mxring::mailauth::dkim
