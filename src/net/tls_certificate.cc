#include "net/tls_certificate.h"

#include <fmt/format.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <span>

#include "base/assert.h"
#include "base/text.h"
#include "net/record_cipher.h"

namespace mxring::net {

namespace {

constexpr std::size_t kFileBytesMax = 1024 * 1024;
constexpr std::int64_t kSecondsPerDay = 86'400;
constexpr std::int64_t kWarnBeforeDays = 14;  // as the alert rule in tuning/observe

std::unexpected<TlsError> refuse(std::string message) {
  return std::unexpected(TlsError{std::move(message)});
}

std::expected<std::string, TlsError> read_file(std::string_view key, const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rbe"),
                                                             &std::fclose);
  std::string text;
  if (file != nullptr) {
    char piece[4096];
    while (const std::size_t got = std::fread(piece, 1, sizeof piece, file.get())) {
      text.append(piece, got);
      if (text.size() > kFileBytesMax) {
        return refuse(fmt::format("{}: {} is no PEM file: larger than {} bytes", key,
                                  base::escaped(path), kFileBytesMax));
      }
    }
  }
  if (file == nullptr || std::ferror(file.get()) != 0) {
    const int error = errno;
    const char* advice = error == EACCES ? "; let the user that mxring runs as read it" : "";
    return refuse(fmt::format("{}: {} cannot be read: {}{}", key, base::escaped(path),
                              std::strerror(error), advice));
  }
  return text;
}

using X509 = std::unique_ptr<WOLFSSL_X509, void (*)(WOLFSSL_X509*)>;

std::int64_t unix_time(const WOLFSSL_ASN1_TIME* time) {
  std::tm parts{};
  if (time == nullptr || wolfSSL_ASN1_TIME_to_tm(time, &parts) != WOLFSSL_SUCCESS) return 0;
  return timegm(&parts);
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
  return out;
}

// What a date in a certificate looks like here.
std::string day(std::int64_t unix_s) {
  const std::time_t time = unix_s;
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{:04}-{:02}-{:02}", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday);
}

// SubjectAltName with one dNSName (RFC 5280 4.2.1.6).
int put_alt_name(Cert& cert, std::string_view name) {
  constexpr std::size_t kShortLengthMax = 120;  // one-byte lengths all through
  if (name.size() > kShortLengthMax) return 0;
  byte* out = cert.altNames;
  *out++ = 0x30;  // SEQUENCE
  *out++ = static_cast<byte>(name.size() + 2);
  *out++ = 0x82;  // [2] dNSName
  *out++ = static_cast<byte>(name.size());
  std::memcpy(out, name.data(), name.size());
  return static_cast<int>(name.size() + 4);
}

// The key of a certificate in the making, of either kind.
struct MakingKey {
  static constexpr int kRsaBits = 2048;

  const bool rsa;
  WC_RNG rng{};
  ecc_key ecc{};
  RsaKey rsa_key{};
  int state = 0;

  explicit MakingKey(CertificateKey kind) : rsa(kind == CertificateKey::kRsa) {
    state = wc_InitRng(&rng);
    if (state == 0) state = rsa ? wc_InitRsaKey(&rsa_key, nullptr) : wc_ecc_init(&ecc);
    if (state == 0) {
      state = rsa ? wc_MakeRsaKey(&rsa_key, kRsaBits, WC_RSA_EXPONENT, &rng)
                  : wc_ecc_make_key(&rng, 32, &ecc);
    }
  }
  ~MakingKey() {
    rsa ? wc_FreeRsaKey(&rsa_key) : wc_ecc_free(&ecc);
    wc_FreeRng(&rng);
  }
  MakingKey(const MakingKey&) = delete;
  MakingKey& operator=(const MakingKey&) = delete;

  int type() const { return rsa ? RSA_TYPE : ECC_TYPE; }
  void* get() { return rsa ? static_cast<void*>(&rsa_key) : &ecc; }
  int to_der(std::span<byte> out) {
    const auto bytes = static_cast<word32>(out.size());
    return rsa ? wc_RsaKeyToDer(&rsa_key, out.data(), bytes)
               : wc_EccKeyToDer(&ecc, out.data(), bytes);
  }
};

std::string to_pem(const byte* der, int der_bytes, int type) {
  std::array<byte, 4096> pem{};
  const int size = wc_DerToPem(der, static_cast<word32>(der_bytes), pem.data(), pem.size(), type);
  return size > 0 ? std::string(reinterpret_cast<char*>(pem.data()), static_cast<std::size_t>(size))
                  : std::string();
}

}  // namespace

namespace {

// wolfSSL calls a certificate damaged whose kind of key it does not know, and takes some with which
// no handshake ends well.
std::expected<void, TlsError> inspect_key(TlsCertificate& certificate) {
  DerBuffer* der = nullptr;
  const int read = wc_PemToDer(reinterpret_cast<const byte*>(certificate.chain_pem.data()),
                               static_cast<long>(certificate.chain_pem.size()), CERT_TYPE, &der,
                               nullptr, nullptr, nullptr);
  if (read == 0) {
    certificate.key =
        certificate_key({reinterpret_cast<const char*>(der->buffer), std::size_t{der->length}});
  }
  wc_FreeDer(&der);
  if (certificate.key == CertificateKey::kUnknown || usable(certificate.key)) return {};
  return refuse(
      fmt::format("{}: its key is of the kind {}, which is not supported here and which few mail "
                  "servers could check; have a certificate with an ECDSA P-256, P-384 or RSA key, "
                  "or some of them side by side",
                  base::escaped(certificate.source), name_of(certificate.key)));
}

}  // namespace

TlsCertificate::~TlsCertificate() {
  wipe_secret({reinterpret_cast<unsigned char*>(key_pem.data()), key_pem.size()});
}

std::expected<void, TlsError> inspect(TlsCertificate& certificate) {
  if (auto known = inspect_key(certificate); !known) return known;
  const X509 x509(wolfSSL_X509_load_certificate_buffer(
                      reinterpret_cast<const unsigned char*>(certificate.chain_pem.data()),
                      static_cast<int>(certificate.chain_pem.size()), WOLFSSL_FILETYPE_PEM),
                  &wolfSSL_X509_free);
  if (x509 == nullptr) {
    const bool no_pem = certificate.chain_pem.find("-----BEGIN CERTIFICATE") == std::string::npos;
    return refuse(fmt::format("{}: {}", base::escaped(certificate.source),
                              no_pem ? "no certificate in it; expected PEM with \"-----BEGIN "
                                       "CERTIFICATE-----\", the server's own certificate first"
                                     : "the first certificate in it is damaged"));
  }
  certificate.names.clear();
  while (const char* name = wolfSSL_X509_get_next_altname(x509.get())) {
    certificate.names.push_back(lower(name));
  }
  if (certificate.names.empty()) {
    if (const char* name = wolfSSL_X509_get_subjectCN(x509.get()); name != nullptr) {
      certificate.names.push_back(lower(name));
    }
  }
  certificate.not_before_s = unix_time(wolfSSL_X509_get_notBefore(x509.get()));
  certificate.not_after_s = unix_time(wolfSSL_X509_get_notAfter(x509.get()));
  return {};
}

bool ecdsa_key_matches(const TlsCertificate& certificate) {
  const X509 x509(wolfSSL_X509_load_certificate_buffer(
                      reinterpret_cast<const unsigned char*>(certificate.chain_pem.data()),
                      static_cast<int>(certificate.chain_pem.size()), WOLFSSL_FILETYPE_PEM),
                  &wolfSSL_X509_free);
  std::array<byte, 256> wanted{};
  int wanted_bytes = wanted.size();
  if (x509 == nullptr ||
      wolfSSL_X509_get_pubkey_buffer(x509.get(), wanted.data(), &wanted_bytes) != WOLFSSL_SUCCESS) {
    return false;
  }
  std::array<byte, 1024> der{};
  const int der_bytes =
      wc_KeyPemToDer(reinterpret_cast<const unsigned char*>(certificate.key_pem.data()),
                     static_cast<int>(certificate.key_pem.size()), der.data(), der.size(), nullptr);
  ecc_key key{};
  wc_ecc_init(&key);
  std::array<byte, 256> made{};
  word32 made_bytes = made.size();
  word32 at = 0;
  // The point is calculated anew: the one in the key file proves nothing.
  const bool good =
      der_bytes > 0 &&
      wc_EccPrivateKeyDecode(der.data(), &at, &key, static_cast<word32>(der_bytes)) == 0 &&
      wc_ecc_make_pub(&key, nullptr) == 0 &&
      wc_ecc_export_x963(&key, made.data(), &made_bytes) == 0;
  wc_ecc_free(&key);
  wipe_secret(der);
  // A SubjectPublicKeyInfo ends with the point.
  const std::string_view point(reinterpret_cast<const char*>(made.data()), made_bytes);
  const std::string_view info(reinterpret_cast<const char*>(wanted.data()),
                              static_cast<std::size_t>(wanted_bytes));
  return good && info.ends_with(point);
}

std::expected<TlsCertificate, TlsError> read_certificate(const std::string& certificate_file,
                                                         const std::string& key_file) {
  TlsCertificate certificate;
  certificate.source = certificate_file;
  auto chain = read_file("tls.certificate", certificate_file);
  if (!chain) return std::unexpected(chain.error());
  auto key = read_file("tls.key", key_file);
  if (!key) return std::unexpected(key.error());
  certificate.chain_pem = *std::move(chain);
  certificate.key_pem = *std::move(key);
  if (auto inspected = inspect(certificate); !inspected) {
    return std::unexpected(inspected.error());
  }
  if (certificate.key_pem.find("PRIVATE KEY-----") == std::string::npos) {
    return refuse(
        fmt::format("tls.key: {}: no private key in it; expected PEM with \"-----BEGIN "
                    "PRIVATE KEY-----\"",
                    base::escaped(key_file)));
  }
  if (certificate.key_pem.find("ENCRYPTED") != std::string::npos) {
    return refuse(
        fmt::format("tls.key: {}: the key is encrypted, and nobody is there to type its "
                    "passphrase; store it decrypted: openssl pkey -in FILE -out FILE",
                    base::escaped(key_file)));
  }
  return certificate;
}

std::expected<TlsCertificate, TlsError> make_certificate(std::string_view hostname,
                                                         CertificateKey kind) {
  constexpr int kYears = 10;
  MXRING_ASSERT(kind == CertificateKey::kP256 || kind == CertificateKey::kRsa);
  MakingKey making(kind);
  const auto cert = std::make_unique<Cert>();
  int result = making.state;
  if (result == 0) result = wc_InitCert(cert.get());
  std::array<byte, 4096> der{};
  std::array<byte, 2048> key_der{};
  int der_bytes = 0;
  if (result == 0) {
    const std::size_t name_bytes = std::min<std::size_t>(hostname.size(), CTC_NAME_SIZE - 1);
    std::memcpy(cert->subject.commonName, hostname.data(), name_bytes);
    cert->sigType = making.rsa ? CTC_SHA256wRSA : CTC_SHA256wECDSA;
    cert->daysValid = kYears * 365;
    cert->altNamesSz = put_alt_name(*cert, hostname);
    result = wc_MakeCert_ex(cert.get(), der.data(), der.size(), making.type(), making.get(),
                            &making.rng);
  }
  if (result > 0) {
    der_bytes = wc_SignCert_ex(cert->bodySz, cert->sigType, der.data(), der.size(), making.type(),
                               making.get(), &making.rng);
    result = der_bytes > 0 ? making.to_der(key_der) : der_bytes;
  }
  if (result <= 0) {
    return refuse(fmt::format("no certificate could be made: {}", wc_GetErrorString(result)));
  }
  TlsCertificate made;
  made.source = "self-signed";
  made.chain_pem = to_pem(der.data(), der_bytes, CERT_TYPE);
  made.key_pem = to_pem(key_der.data(), result, making.rsa ? PRIVATEKEY_TYPE : ECC_PRIVATEKEY_TYPE);
  wipe_secret(key_der);
  if (auto inspected = inspect(made); !inspected) return std::unexpected(inspected.error());
  return made;
}

bool covers(std::string_view certificate_name, std::string_view name) {
  if (certificate_name == name) return true;
  if (!certificate_name.starts_with("*.")) return false;
  const std::size_t dot = name.find('.');
  return dot != std::string_view::npos && dot > 0 && name.substr(dot) == certificate_name.substr(1);
}

std::string validity_warning(const TlsCertificate& certificate, base::WallTime now) {
  const std::int64_t now_s = now.us / 1'000'000;
  const std::string source = base::escaped(certificate.source);
  if (now_s >= certificate.not_after_s) {
    return fmt::format(
        "warning: certificate {} expired on {}; clients that check it will not talk "
        "to this server",
        source, day(certificate.not_after_s));
  }
  if (now_s < certificate.not_before_s) {
    return fmt::format("warning: certificate {} is not valid before {}", source,
                       day(certificate.not_before_s));
  }
  if (certificate.not_after_s - now_s < kWarnBeforeDays * kSecondsPerDay) {
    return fmt::format("warning: certificate {} expires on {}", source,
                       day(certificate.not_after_s));
  }
  return {};
}

}  // namespace mxring::net
