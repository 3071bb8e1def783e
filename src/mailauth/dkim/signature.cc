#include "mailauth/dkim/signature.h"

#include <algorithm>
#include <array>

#include "base/base64.h"
#include "base/text.h"
#include "mail/idna.h"

namespace mxring::mailauth::dkim {

namespace {

constexpr std::string_view kKeyLabel = "_domainkey";

Problem syntax(std::string_view what, std::string_view where = {}) {
  return {Result::kNeutral, what, where};
}

// Decimal digits only; what is too large for 64 bits is as large as they can say.
bool read_number(std::string_view text, std::optional<std::uint64_t>& number) {
  if (text.empty()) return false;
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    const auto digit = static_cast<std::uint64_t>(c - '0');
    value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
  }
  number = value;
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

std::optional<Canonicalization> canonicalization_from(std::string_view text) {
  for (const auto known : {Canonicalization::kSimple, Canonicalization::kRelaxed}) {
    if (base::ascii_iequals(text, word(known))) return known;
  }
  return std::nullopt;
}

// RFC 5322 3.6.8 without the semicolon, which ends a tag.
bool is_field_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

// Labels appended one after the other, for names made of names.
bool append(dns::Name& name, const dns::Name& tail) {
  std::string_view wire = tail.wire();
  while (!wire.empty()) {
    const std::size_t bytes = static_cast<std::uint8_t>(wire[0]);
    if (!name.append_label(wire.substr(1, bytes))) return false;
    wire.remove_prefix(1 + bytes);
  }
  return true;
}

}  // namespace

std::optional<dns::Name> parse_domain(std::string_view text) {
  mail::DomainBuffer buffer;
  const auto labels = mail::to_a_labels(text, buffer);
  if (!labels || labels->ends_with('.')) return std::nullopt;
  auto name = dns::Name::parse(*labels);
  return name && name->is_host_name() ? name : std::nullopt;
}

void decode_quoted(std::string_view text, std::string& out) {
  out.clear();
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (is_folding_space(c)) continue;
    const int high = c == '=' && at + 2 < text.size() ? hex_value(text[at + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[at + 2]) : -1;
    if (low < 0) {
      out += c;
      continue;
    }
    out += static_cast<char>(high * 16 + low);
    at += 2;
  }
}

std::optional<dns::Name> key_name(const dns::Name& selector, const dns::Name& domain) {
  dns::Name name = selector;
  if (!name.append_label(kKeyLabel) || !append(name, domain)) return std::nullopt;
  return name;
}

std::string_view SignatureParser::value_of(std::string_view name) const {
  const Tag* tag = find_tag(tags_, name);
  return tag == nullptr ? std::string_view() : tag->value;
}

std::optional<Problem> SignatureParser::parse(std::string_view value, Signature& signature,
                                              std::string& signature_bytes, SignatureKind kind) {
  const bool dkim = kind == SignatureKind::kDkim;
  signature = {};
  if (const auto error = parse_tag_list(value, tags_)) return syntax(error->what, error->where);
  signature.algorithm_text = value_of("a");
  signature.signature_text = value_of("b");
  if (dkim) signature.identity_text = value_of("i");
  signature.copied_fields = value_of("z");
  auto problem = read_names(signature);
  if (problem) return problem;
  if (dkim && value_of("v") != "1") {
    return find_tag(tags_, "v") == nullptr ? syntax("v= is missing")
                                           : syntax("a version that is not 1: v", value_of("v"));
  }
  if (dkim && (problem = read_identity(signature))) return problem;
  if ((problem = read_algorithm(signature))) return problem;
  if (kind != SignatureKind::kArcSeal) {
    if ((problem = read_canonicalization(signature))) return problem;
    if ((problem = read_signed_fields(signature))) return problem;
    if ((problem = read_body_hash(signature))) return problem;
  }
  if ((problem = read_signature(signature, signature_bytes))) return problem;
  return read_numbers(signature, kind);
}

std::optional<Problem> SignatureParser::read_names(Signature& signature) {
  if (find_tag(tags_, "d") == nullptr) return syntax("d= is missing");
  if (find_tag(tags_, "s") == nullptr) return syntax("s= is missing");
  const auto domain = parse_domain(value_of("d"));
  if (!domain || domain->labels() < 2) return syntax("d= is not a domain", value_of("d"));
  signature.domain = *domain;
  const auto selector = parse_domain(value_of("s"));
  if (!selector) return syntax("s= is not a selector", value_of("s"));
  signature.selector = *selector;
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_identity(Signature& signature) {
  if (find_tag(tags_, "i") == nullptr) return std::nullopt;
  decode_quoted(signature.identity_text, decoded_);
  const std::size_t at = decoded_.rfind('@');
  if (at == std::string::npos) return syntax("i= has no @", signature.identity_text);
  const auto domain = parse_domain(std::string_view(decoded_).substr(at + 1));
  if (!domain || !domain->is_within(signature.domain)) {
    return syntax("i= is not within the domain d=", signature.identity_text);
  }
  signature.identity_below = *domain != signature.domain;
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_algorithm(Signature& signature) {
  constexpr std::array<std::pair<std::string_view, Algorithm>, 3> kKnown{{
      {"rsa-sha256", Algorithm::kRsaSha256},
      {"ed25519-sha256", Algorithm::kEd25519Sha256},
      {"rsa-sha1", Algorithm::kRsaSha1},
  }};
  if (find_tag(tags_, "a") == nullptr) return syntax("a= is missing");
  for (const auto& [text, algorithm] : kKnown) {
    if (!base::ascii_iequals(text, signature.algorithm_text)) continue;
    signature.algorithm = algorithm;
    return std::nullopt;
  }
  return syntax("an unknown algorithm", signature.algorithm_text);
}

std::optional<Problem> SignatureParser::read_canonicalization(Signature& signature) {
  if (find_tag(tags_, "c") == nullptr) return std::nullopt;
  const std::string_view text = value_of("c");
  const std::size_t slash = std::min(text.find('/'), text.size());
  const auto header = canonicalization_from(trimmed(text.substr(0, slash)));
  const auto body = slash == text.size() ? Canonicalization::kSimple
                                         : canonicalization_from(trimmed(text.substr(slash + 1)));
  if (!header || !body) return syntax("an unknown canonicalization", text);
  signature.header = *header;
  signature.body = *body;
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_signed_fields(Signature& signature) {
  if (find_tag(tags_, "h") == nullptr) return syntax("h= is missing");
  signature.signed_fields = value_of("h");
  bool from = false;
  ColonList names(signature.signed_fields);
  std::string_view name;
  std::size_t count = 0;
  while (names.next(name)) {
    if (++count > kSignedNamesMax) {
      return Problem{Result::kPolicy, "h= names more fields than a message needs", {}};
    }
    if (name.empty()) continue;  // "from:to:", and no field has such a name
    if (!is_field_name(name)) return syntax("h= has what is no field's name", name);
    from = from || base::ascii_iequals(name, "from");
  }
  // RFC 8601 2.7.1 calls a required field's absence a permanent error.
  if (!from) return Problem{Result::kPermerror, "From is not signed", {}};
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_body_hash(Signature& signature) {
  const Tag* body_hash = find_tag(tags_, "bh");
  if (body_hash == nullptr) return syntax("bh= is missing");
  // A SHA-1 hash is shorter; that such a signature is refused is not the syntax's business.
  const bool sha1 = signature.algorithm == Algorithm::kRsaSha1;
  if (!base::decode_base64(body_hash->value, base::Base64::kFolded, decoded_) ||
      decoded_.size() != (sha1 ? 20U : signature.body_hash.size())) {
    return syntax("bh= is not the base64 of a hash", body_hash->value);
  }
  std::copy(decoded_.begin(), decoded_.end(), signature.body_hash.begin());
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_signature(Signature& signature,
                                                       std::string& signature_bytes) const {
  const Tag* b = find_tag(tags_, "b");
  if (b == nullptr) return syntax("b= is missing");
  signature.signature_raw = b->raw;
  if (!base::decode_base64(b->value, base::Base64::kFolded, signature_bytes) ||
      signature_bytes.empty()) {
    return syntax("b= is not base64");
  }
  return std::nullopt;
}

std::optional<Problem> SignatureParser::read_numbers(Signature& signature,
                                                     SignatureKind kind) const {
  struct Row {
    std::string_view name;
    std::string_view what;
    std::optional<std::uint64_t>* number;
  };
  const std::array<Row, 3> rows{{{"l", "l= is not a number", &signature.body_bytes},
                                 {"t", "t= is not a number", &signature.signed_at},
                                 {"x", "x= is not a number", &signature.expires_at}}};
  for (const Row& row : rows) {
    // What a seal does not know is ignored.
    if (kind == SignatureKind::kArcSeal && row.name != "t") continue;
    const Tag* number = find_tag(tags_, row.name);
    if (number != nullptr && !read_number(number->value, *row.number)) {
      return syntax(row.what, number->value);
    }
  }
  if (kind == SignatureKind::kArcSeal) return std::nullopt;
  if (signature.signed_at && signature.expires_at &&
      *signature.expires_at <= *signature.signed_at) {
    return syntax("x= is not after t=");
  }
  // Nothing says how else to find the key (RFC 6376 3.5, q=).
  if (find_tag(tags_, "q") != nullptr && !list_contains(value_of("q"), "dns/txt")) {
    return syntax("no known way to the key: q", value_of("q"));
  }
  return std::nullopt;
}

}  // namespace mxring::mailauth::dkim
