#include "crypto/private_key.h"

#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <string.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ed25519.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <array>
#include <optional>
#include <utility>

#include "crypto/der.h"
#include "crypto/private_key_pem.h"
#include "crypto/rsa.h"
#include "crypto/rsa_encoding.h"

namespace mxring::crypto {

namespace {

constexpr std::uint32_t kSignBitsMin = 1024;
constexpr std::uint32_t kSignBitsMax = 4096;
constexpr std::size_t kPkcs1BytesMax = 4096;  // of a 4096-bit key; it has about 2350
constexpr std::size_t kSeedBytes = ED25519_KEY_SIZE;

std::unexpected<std::string> refuse(std::string_view reason) {
  return std::unexpected(std::string(reason));
}

// The library's random numbers: a DRBG seeded by the kernel.
struct Random {
  WC_RNG rng;
  bool ready;
  Random() : rng{}, ready(wc_InitRng(&rng) == 0) {}
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  ~Random() {
    if (ready) wc_FreeRng(&rng);
  }
};

struct LibraryRsaKey {
  RsaKey key;
  bool ready;
  LibraryRsaKey() : key{}, ready(wc_InitRsaKey(&key, nullptr) == 0) {}
  LibraryRsaKey(const LibraryRsaKey&) = delete;
  LibraryRsaKey& operator=(const LibraryRsaKey&) = delete;
  ~LibraryRsaKey() {
    wc_FreeRsaKey(&key);
    explicit_bzero(&key, sizeof key);
  }
};

struct LibraryEd25519Key {
  ed25519_key key;
  bool ready;
  LibraryEd25519Key() : key{}, ready(wc_ed25519_init(&key) == 0) {}
  LibraryEd25519Key(const LibraryEd25519Key&) = delete;
  LibraryEd25519Key& operator=(const LibraryEd25519Key&) = delete;
  ~LibraryEd25519Key() {
    wc_ed25519_free(&key);
    explicit_bzero(&key, sizeof key);
  }
};

// An INTEGER's content: a zero goes before an octet that would be a sign.
void append_unsigned(std::string& out, std::string_view magnitude) {
  std::string content;
  if (magnitude.empty() || static_cast<std::uint8_t>(magnitude[0]) >= 0x80) content += '\0';
  content += magnitude;
  append_der(out, DerTag::kInteger, content);
}

// RSAPrivateKey ::= SEQUENCE { version 0, n, e, d, p, q, dP, dQ, qInv } (RFC 8017 A.1.2). Gives the
// SubjectPublicKeyInfo, or nothing when it is not well-formed.
std::optional<std::string> public_part(std::string_view pkcs1) {
  DerReader outer(pkcs1);
  const auto inside = outer.take(DerTag::kSequence);
  if (!inside || !outer.at_end()) return std::nullopt;
  DerReader reader(*inside);
  std::array<std::string_view, 9> numbers;
  for (std::string_view& number : numbers) {
    const auto taken = reader.take_unsigned();
    if (!taken) return std::nullopt;
    number = *taken;
  }
  const bool two_primes = numbers[0].empty();  // version 0
  if (!two_primes || !reader.at_end()) return std::nullopt;

  std::string pair;
  append_unsigned(pair, numbers[1]);
  append_unsigned(pair, numbers[2]);
  std::string bits(1, '\0');
  append_der(bits, DerTag::kSequence, pair);
  std::string algorithm;
  append_der(algorithm, DerTag::kObjectId, "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01");
  append_der(algorithm, DerTag::kNull, {});
  std::string info;
  append_der(info, DerTag::kSequence, algorithm);
  append_der(info, DerTag::kBitString, bits);
  std::string out;
  append_der(out, DerTag::kSequence, info);
  return out;
}

}  // namespace

struct PrivateKey::Body {
  KeyType type = KeyType::kRsa;
  std::uint32_t bits = 0;
  Secret key;  // as in UnwrappedKey
  std::string public_key;
  Random random;
  LibraryRsaKey rsa;
  LibraryEd25519Key ed25519;
  std::optional<RsaPublicKey> rsa_public;
  RsaVerifier verifier;

  Body() : verifier(kCheckPaths) {}
  bool ready() const { return random.ready && rsa.ready && ed25519.ready; }
  std::expected<void, std::string> load(UnwrappedKey unwrapped);
  std::expected<void, std::string> load_rsa();
  std::expected<void, std::string> load_ed25519();
  std::expected<std::string, std::string> sign_rsa(const Sha256Digest& digest);
  std::expected<std::string, std::string> sign_ed25519(const Sha256Digest& digest);

  static constexpr std::array kCheckPaths = {RsaPath::kWolfCrypt};
};

std::expected<void, std::string> PrivateKey::Body::load(UnwrappedKey unwrapped) {
  if (!ready()) return refuse("no random numbers from the system");
  type = unwrapped.type;
  key = std::move(unwrapped.key);
  return type == KeyType::kRsa ? load_rsa() : load_ed25519();
}

std::expected<void, std::string> PrivateKey::Body::load_rsa() {
  std::optional<std::string> info = public_part(key.view());
  if (!info) return refuse("the RSA private key is not well-formed");
  auto parsed = RsaPublicKey::parse(*info);
  if (!parsed || parsed->bits() < kSignBitsMin) {
    return refuse("RSA keys must have 1024 to 4096 bits, an odd modulus and an odd exponent");
  }
  word32 at = 0;
  const auto size = static_cast<word32>(key.size());
  if (wc_RsaPrivateKeyDecode(key.data(), &at, &rsa.key, size) != 0 || at != size ||
      wc_RsaSetRNG(&rsa.key, &random.rng) != 0) {
    return refuse("the RSA private key cannot be used");
  }
  bits = parsed->bits();
  public_key = std::move(*info);
  rsa_public = std::move(*parsed);
  // One signature, which sign_rsa() verifies: the numbers in the file belong together.
  if (!sign_rsa(sha256("mxring"))) return refuse("the numbers of the RSA key do not fit together");
  return {};
}

std::expected<void, std::string> PrivateKey::Body::load_ed25519() {
  std::array<std::uint8_t, ED25519_PUB_KEY_SIZE> point;
  if (key.size() != kSeedBytes ||
      wc_ed25519_import_private_only(key.data(), kSeedBytes, &ed25519.key) != 0 ||
      wc_ed25519_make_public(&ed25519.key, point.data(), ED25519_PUB_KEY_SIZE) != 0 ||
      wc_ed25519_import_private_key(key.data(), kSeedBytes, point.data(), ED25519_PUB_KEY_SIZE,
                                    &ed25519.key) != 0) {
    return refuse("the Ed25519 key cannot be used");
  }
  bits = 256;
  public_key.assign(point.begin(), point.end());
  return {};
}

std::expected<std::string, std::string> PrivateKey::Body::sign_rsa(const Sha256Digest& digest) {
  std::array<std::uint8_t, kDigestInfo.size() + sizeof(Sha256Digest)> info;
  std::copy(digest.begin(), digest.end(),
            std::copy(kDigestInfo.begin(), kDigestInfo.end(), info.begin()));
  std::string signature((bits + 7) / 8, '\0');
  const int written =
      wc_RsaSSL_Sign(info.data(), info.size(), reinterpret_cast<byte*>(signature.data()),
                     static_cast<word32>(signature.size()), &rsa.key, &random.rng);
  if (written != static_cast<int>(signature.size())) return refuse("RSA signing failed");
  // A signature with a fault in one half of the calculation would give the key away (Boneh,
  // DeMillo, Lipton 1997); checking costs a fiftieth of making.
  RsaCheck check{&*rsa_public, signature, digest};
  RsaCheck* const checks[] = {&check};
  verifier.verify(checks);
  if (!check.valid) return refuse("RSA signing went wrong");
  return signature;
}

std::expected<std::string, std::string> PrivateKey::Body::sign_ed25519(const Sha256Digest& digest) {
  std::string signature(ED25519_SIG_SIZE, '\0');
  word32 size = ED25519_SIG_SIZE;
  if (wc_ed25519_sign_msg(digest.data(), static_cast<word32>(digest.size()),
                          reinterpret_cast<byte*>(signature.data()), &size, &ed25519.key) != 0 ||
      size != signature.size()) {
    return refuse("Ed25519 signing failed");
  }
  return signature;
}

PrivateKey::PrivateKey(std::unique_ptr<Body> body) : body_(std::move(body)) {}
PrivateKey::PrivateKey(PrivateKey&&) noexcept = default;
PrivateKey& PrivateKey::operator=(PrivateKey&&) noexcept = default;
PrivateKey::~PrivateKey() = default;

std::expected<PrivateKey, std::string> PrivateKey::generate_rsa(std::uint32_t bits) {
  if (bits < kSignBitsMin || bits > kSignBitsMax || bits % 16 != 0) {
    return refuse("RSA keys are made with 1024 to 4096 bits, a multiple of 16");
  }
  Random random;
  LibraryRsaKey made;
  if (!random.ready || !made.ready) return refuse("no random numbers from the system");
  if (wc_MakeRsaKey(&made.key, static_cast<int>(bits), WC_RSA_EXPONENT, &random.rng) != 0) {
    return refuse("making an RSA key failed");
  }
  UnwrappedKey unwrapped{KeyType::kRsa, Secret(kPkcs1BytesMax)};
  const int size = wc_RsaKeyToDer(&made.key, unwrapped.key.data(), kPkcs1BytesMax);
  if (size <= 0) return refuse("writing the RSA key failed");
  unwrapped.key.shrink(static_cast<std::size_t>(size));
  auto body = std::make_unique<Body>();
  const auto loaded = body->load(std::move(unwrapped));
  if (!loaded) return std::unexpected(loaded.error());
  if (body->bits != bits) return refuse("the library made an RSA key of another size");
  return PrivateKey(std::move(body));
}

std::expected<PrivateKey, std::string> PrivateKey::generate_ed25519() {
  Random random;
  UnwrappedKey unwrapped{KeyType::kEd25519, Secret(kSeedBytes)};
  if (!random.ready || wc_RNG_GenerateBlock(&random.rng, unwrapped.key.data(), kSeedBytes) != 0) {
    return refuse("no random numbers from the system");
  }
  auto body = std::make_unique<Body>();
  const auto loaded = body->load(std::move(unwrapped));
  if (!loaded) return std::unexpected(loaded.error());
  return PrivateKey(std::move(body));
}

std::expected<PrivateKey, std::string> PrivateKey::from_pem(std::string_view pem) {
  auto unwrapped = unwrap_private_key(pem);
  if (!unwrapped) return std::unexpected(std::move(unwrapped.error()));
  auto body = std::make_unique<Body>();
  const auto loaded = body->load(std::move(*unwrapped));
  if (!loaded) return std::unexpected(loaded.error());
  return PrivateKey(std::move(body));
}

KeyType PrivateKey::type() const {
  return body_->type;
}

std::uint32_t PrivateKey::bits() const {
  return body_->bits;
}

std::string PrivateKey::to_pem() const {
  return wrap_private_key(body_->type, body_->key.view());
}

std::string PrivateKey::public_key() const {
  return body_->public_key;
}

std::expected<std::string, std::string> PrivateKey::sign(const Sha256Digest& digest) {
  return body_->type == KeyType::kRsa ? body_->sign_rsa(digest) : body_->sign_ed25519(digest);
}

}  // namespace mxring::crypto
