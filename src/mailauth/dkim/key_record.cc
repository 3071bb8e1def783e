#include "mailauth/dkim/key_record.h"

#include <algorithm>

#include "base/base64.h"
#include "base/text.h"

namespace mxring::mailauth::dkim {

namespace {

constexpr char kKeySetTag = 0;  // its address

constexpr Problem kNotAKey{
    Result::kPermerror, "what stands at the key's name is not a key record", {}};

std::unexpected<Problem> refuse(std::string_view what, Result result = Result::kPermerror) {
  return std::unexpected(Problem{result, what, {}});
}

std::string_view value_of(const std::vector<Tag>& tags, std::string_view name,
                          std::string_view otherwise) {
  const Tag* tag = find_tag(tags, name);
  return tag == nullptr ? otherwise : tag->value;
}

std::expected<void, Problem> read_rsa(std::string_view der, Key& key) {
  key.type = crypto::KeyType::kRsa;
  auto parsed = crypto::RsaPublicKey::parse(der);
  if (parsed) {
    key.rsa = *std::move(parsed);
    return {};
  }
  switch (parsed.error()) {
    case crypto::RsaKeyError::kNotRsa:
      return refuse("the key record says RSA, its key is another");
    case crypto::RsaKeyError::kUnusable:
      // RFC 8301 3.2: keys of such lengths cannot be relied on.
      return refuse(
          "the RSA key is under 512 or over 4096 bits, has an exponent over 17 bits, or cannot be "
          "one",
          Result::kPolicy);
    case crypto::RsaKeyError::kMalformed:
      break;
  }
  return refuse("the key record's p= is not an RSA key");
}

std::expected<void, Problem> read_public_key(std::string_view type, std::string_view text,
                                             Key& key) {
  std::string bytes;
  const bool rsa = base::ascii_iequals(type, "rsa");
  if (!rsa && !base::ascii_iequals(type, "ed25519")) {
    return refuse("the key record is of an unknown type");
  }
  if (text.empty()) return refuse("the key has been revoked");
  if (!base::decode_base64(text, base::Base64::kFolded, bytes)) {
    return refuse("the key record's p= is not base64");
  }
  if (rsa) return read_rsa(bytes, key);
  key.type = crypto::KeyType::kEd25519;
  if (bytes.size() != key.ed25519.size()) {
    return refuse("the key record's p= is not an Ed25519 key of 32 bytes");
  }
  std::copy(bytes.begin(), bytes.end(), key.ed25519.begin());
  return {};
}

}  // namespace

std::expected<Key, Problem> parse_key_record(std::string_view text) {
  std::vector<Tag> tags;
  if (const auto error = parse_tag_list(text, tags)) {
    return refuse("the key record has a syntax error");
  }
  // RFC 6376 3.6.1: v= may be missing, but if it is there it comes first.
  const Tag* version = find_tag(tags, "v");
  if (version != nullptr && (version != tags.data() || version->value != "DKIM1")) {
    return std::unexpected(kNotAKey);
  }
  const Tag* public_key = find_tag(tags, "p");
  if (public_key == nullptr) {
    return version == nullptr ? std::unexpected(kNotAKey) : refuse("the key record has no p=");
  }
  Key key;
  if (auto read = read_public_key(value_of(tags, "k", "rsa"), public_key->value, key); !read) {
    return std::unexpected(read.error());
  }
  if (const Tag* hashes = find_tag(tags, "h")) key.sha256 = list_contains(hashes->value, "sha256");
  const std::string_view services = value_of(tags, "s", "*");
  key.email = list_contains(services, "*") || list_contains(services, "email");
  const std::string_view flags = value_of(tags, "t", {});
  key.testing = list_contains(flags, "y");
  key.strict = list_contains(flags, "s");
  return key;
}

std::optional<Problem> unfit_for(const Key& key, Algorithm algorithm, const base::Limits& limits) {
  const auto wanted =
      algorithm == Algorithm::kEd25519Sha256 ? crypto::KeyType::kEd25519 : crypto::KeyType::kRsa;
  if (key.type != wanted) {
    return Problem{Result::kPermerror, "the key is not of the signature's algorithm", {}};
  }
  if (!key.sha256) return Problem{Result::kPermerror, "the key is not for SHA-256", {}};
  if (!key.email) return Problem{Result::kPermerror, "the key is not for mail", {}};
  if (key.rsa && key.bits() < limits.rsa_bits_min) {
    return Problem{Result::kPolicy, "the RSA key is too short", {}};
  }
  if (key.rsa && key.bits() > limits.rsa_bits_max) {
    return Problem{Result::kPolicy, "the RSA key is too long", {}};
  }
  return std::nullopt;
}

KeySet::KeySet(const std::vector<std::string>& texts)
    : ParsedForm(&kKeySetTag), problem_(kNotAKey) {
  for (std::size_t i = 0; i < std::min(texts.size(), kRecordsMax); ++i) {
    auto key = parse_key_record(texts[i]);
    if (key) {
      keys_.push_back(*std::move(key));
    } else if (problem_.what == kNotAKey.what) {
      problem_ = key.error();
    }
  }
}

std::shared_ptr<const KeySet> KeySet::of(const dns::Answer& answer) {
  if (auto kept = answer.parsed(&kKeySetTag)) return std::static_pointer_cast<const KeySet>(kept);
  auto made = std::make_shared<const KeySet>(answer.texts);
  answer.set_parsed(made);
  return made;
}

std::size_t KeySet::bytes() const {
  std::size_t sum = sizeof *this + keys_.capacity() * sizeof(Key);
  for (const Key& key : keys_) sum += key.rsa ? key.rsa->bytes() : 0;
  return sum;
}

}  // namespace mxring::mailauth::dkim
