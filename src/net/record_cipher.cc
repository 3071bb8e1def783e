#include "net/record_cipher.h"

#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/cryptocb.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/wc_port.h>

#ifdef MXRING_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

#include <atomic>
#include <cstring>

#include "base/assert.h"
#include "net/tls_heap.h"

namespace mxring::net {

namespace {

constexpr int kDevice = 0x6d78;  // any number that no other device of this process has
constexpr std::size_t kNonceBytes = 12;
constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kKeyBytesMax = 32;

thread_local RecordKeys* t_keys = nullptr;
thread_local RecordRules* t_rules = nullptr;
std::atomic<bool> g_fast{true};

void wipe(void* memory, std::size_t bytes) {
  std::memset(memory, 0, bytes);
  asm volatile("" : : "r"(memory) : "memory");  // so that the stores are not left out
}

// One generator a thread, seeded by the kernel once.
class ThreadRandom {
 public:
  ThreadRandom() : ready_(wc_InitRng_ex(&rng_, nullptr, INVALID_DEVID) == 0) {}
  ~ThreadRandom() {
    if (ready_) wc_FreeRng(&rng_);
  }
  ThreadRandom(const ThreadRandom&) = delete;
  ThreadRandom& operator=(const ThreadRandom&) = delete;
  int fill(unsigned char* out, word32 bytes) {
    return ready_ ? wc_RNG_GenerateBlock(&rng_, out, bytes) : RNG_FAILURE_E;
  }

 private:
  WC_RNG rng_{};
  bool ready_;
};

int random_bytes(unsigned char* out, word32 bytes) {
  thread_local ThreadRandom random;
  // One request may not ask the generator for more than this.
  constexpr word32 kPieceBytes = RNG_MAX_BLOCK_LEN;
  for (word32 done = 0; done < bytes;) {
    const word32 piece = bytes - done < kPieceBytes ? bytes - done : kPieceBytes;
    if (const int result = random.fill(out + done, piece); result != 0) return result;
    done += piece;
  }
  return 0;
}

}  // namespace

#ifdef MXRING_IPSEC_MB

// Its AES-GCM calls keep their state in their arguments: one manager serves all threads, and is
// only read after it was made.
struct RecordKeys::Expanded {
  alignas(64) gcm_key_data data;
  const void* owner = nullptr;
  std::size_t key_bytes = 0;
  unsigned char key[kKeyBytesMax] = {};
  ~Expanded() { wipe(this, sizeof *this); }
};

namespace {

IMB_MGR* make_manager() {
  IMB_MGR* manager = alloc_mb_mgr(0);
  if (manager == nullptr) return nullptr;
  // Without AES-NI and carry-less multiplication it would emulate both, slower than wolfSSL.
  constexpr std::uint64_t kNeeded = IMB_FEATURE_AESNI | IMB_FEATURE_PCLMULQDQ;
  if ((manager->features & kNeeded) == kNeeded) {
    init_mb_mgr_auto(manager, nullptr);
    if (imb_get_errno(manager) == 0) return manager;
  }
  free_mb_mgr(manager);
  return nullptr;
}

IMB_MGR* manager() {
  static IMB_MGR* const made = make_manager();
  return made;
}

// CRYPTOCB_UNAVAILABLE: wolfSSL's own code does it.
int fast_gcm(wc_CryptoInfo& info) {
  IMB_MGR* imb = manager();
  if (imb == nullptr || t_keys == nullptr || !g_fast.load(std::memory_order_relaxed)) {
    return CRYPTOCB_UNAVAILABLE;
  }
  const bool encrypt = info.cipher.enc != 0;
  // The two structures differ in the constness of the tag only.
  const auto& enc = info.cipher.aesgcm_enc;
  const auto& dec = info.cipher.aesgcm_dec;
  const Aes* aes = encrypt ? enc.aes : dec.aes;
  const word32 nonce_bytes = encrypt ? enc.ivSz : dec.ivSz;
  const word32 tag_bytes = encrypt ? enc.authTagSz : dec.authTagSz;
  const auto key_bytes = static_cast<std::size_t>(aes->keylen);
  if (nonce_bytes != kNonceBytes || tag_bytes != kTagBytes ||
      (key_bytes != 16 && key_bytes != 32)) {
    return CRYPTOCB_UNAVAILABLE;
  }
  const auto& keys =
      t_keys->expand(aes, reinterpret_cast<const unsigned char*>(aes->devKey), key_bytes);
  gcm_context_data context;
  if (encrypt) {
    const auto run = key_bytes == 16 ? imb->gcm128_enc : imb->gcm256_enc;
    run(&keys.data, &context, enc.out, enc.in, enc.sz, enc.iv, enc.authIn, enc.authInSz,
        enc.authTag, kTagBytes);
    return 0;
  }
  unsigned char tag[kTagBytes];
  const auto run = key_bytes == 16 ? imb->gcm128_dec : imb->gcm256_dec;
  run(&keys.data, &context, dec.out, dec.in, dec.sz, dec.iv, dec.authIn, dec.authInSz, tag,
      kTagBytes);
  unsigned difference = 0;  // in constant time
  for (std::size_t i = 0; i < kTagBytes; ++i) difference |= tag[i] ^ dec.authTag[i];
  if (difference == 0) return 0;
  wipe(dec.out, dec.sz);
  return AES_GCM_AUTH_E;
}

}  // namespace

const RecordKeys::Expanded& RecordKeys::expand(const void* owner, const unsigned char* key,
                                               std::size_t key_bytes) {
  std::unique_ptr<Expanded>* free = nullptr;
  for (auto& slot : slots_) {
    if (slot == nullptr) {
      if (free == nullptr) free = &slot;
      continue;
    }
    if (slot->owner != owner) continue;
    if (slot->key_bytes == key_bytes && std::memcmp(slot->key, key, key_bytes) == 0) return *slot;
    free = &slot;  // its key has changed
    break;
  }
  if (free == nullptr) {
    free = &slots_[next_];
    next_ = static_cast<std::uint8_t>((next_ + 1) % slots_.size());
  }
  if (*free == nullptr) *free = std::make_unique<Expanded>();
  Expanded& slot = **free;
  slot.owner = owner;
  slot.key_bytes = key_bytes;
  std::memcpy(slot.key, key, key_bytes);
  const auto expand_key = key_bytes == 16 ? manager()->gcm128_pre : manager()->gcm256_pre;
  expand_key(key, &slot.data);
  return slot;
}

bool has_fast_gcm() {
  return manager() != nullptr && g_fast.load(std::memory_order_relaxed);
}

#else

struct RecordKeys::Expanded {};

namespace {

int fast_gcm(wc_CryptoInfo&) {
  return CRYPTOCB_UNAVAILABLE;
}

}  // namespace

const RecordKeys::Expanded& RecordKeys::expand(const void*, const unsigned char*, std::size_t) {
  if (slots_[0] == nullptr) slots_[0] = std::make_unique<Expanded>();
  return *slots_[0];
}

bool has_fast_gcm() {
  return false;
}

#endif

namespace {

// Additional data of a record: its header in TLS 1.3 (RFC 8446 5.2); number, type, version and
// length in 1.2 (RFC 5246 6.2.3.3).
constexpr word32 kAdditional13Bytes = kRecordHeaderBytes;
constexpr word32 kAdditional12Bytes = 13;
constexpr std::size_t kTypeAt12 = 8;

constexpr unsigned char kFatal = 2;
constexpr auto kAlertType = static_cast<unsigned char>(RecordType::kAlert);

// wolfSSL's own code, without coming back to the callback.
int slow_gcm(wc_CryptoInfo& info) {
  const bool encrypt = info.cipher.enc != 0;
  const auto& enc = info.cipher.aesgcm_enc;
  const auto& dec = info.cipher.aesgcm_dec;
  Aes* aes = encrypt ? enc.aes : dec.aes;
  const int device = aes->devId;
  aes->devId = INVALID_DEVID;
  const int result = encrypt
                         ? wc_AesGcmEncrypt(aes, enc.out, enc.in, enc.sz, enc.iv, enc.ivSz,
                                            enc.authTag, enc.authTagSz, enc.authIn, enc.authInSz)
                         : wc_AesGcmDecrypt(aes, dec.out, dec.in, dec.sz, dec.iv, dec.ivSz,
                                            dec.authTag, dec.authTagSz, dec.authIn, dec.authInSz);
  aes->devId = device;
  return result;
}

int either_gcm(wc_CryptoInfo& info) {
  const int result = fast_gcm(info);
  return result == CRYPTOCB_UNAVAILABLE ? slow_gcm(info) : result;
}

// An alert that ends a connection says why.
int seal_record(wc_CryptoInfo& info) {
  auto& enc = info.cipher.aesgcm_enc;
  const bool alert13 = enc.authInSz == kAdditional13Bytes && enc.sz == 3 && enc.in[2] == kAlertType;
  const bool alert12 =
      enc.authInSz == kAdditional12Bytes && enc.sz == 2 && enc.authIn[kTypeAt12] == kAlertType;
  const auto why = static_cast<unsigned char>(t_rules->refused());
  const unsigned char alert[] = {kFatal, why, kAlertType};
  if (why != 0 && (alert13 || alert12)) enc.in = alert;
  return either_gcm(info);
}

int open_record(wc_CryptoInfo& info) {
  const auto& dec = info.cipher.aesgcm_dec;
  if (const int result = either_gcm(info); result != 0) return result;
  const std::span<const unsigned char> plaintext(dec.out, dec.sz);
  TlsAlert alert = TlsAlert::kUnexpectedMessage;
  if (dec.authInSz == kAdditional13Bytes) alert = t_rules->plaintext13(plaintext);
  if (dec.authInSz == kAdditional12Bytes) {
    alert = t_rules->plaintext12(dec.authIn[kTypeAt12], plaintext);
  }
  if (alert == TlsAlert::kNone) return 0;
  wipe(dec.out, dec.sz);
  return AES_GCM_AUTH_E;
}

int on_gcm(wc_CryptoInfo& info) {
  if (t_rules == nullptr) return fast_gcm(info);
  return info.cipher.enc != 0 ? seal_record(info) : open_record(info);
}

// Runs wolfSSL's own code for a key's operation, which does not come back here.
template <typename Operation>
int outside_of_counting(ecc_key* key, Operation operation) {
  const TlsHeapPaused paused;
  const int device = key->devId;
  key->devId = INVALID_DEVID;
  const int result = operation();
  key->devId = device;
  return result;
}

// wolfSSL keeps a megabyte of multiples for every point that it meets again, in a cache of the
// process: that is no memory of the connection in whose handshake it happens.
int on_curve(wc_CryptoInfo& info) {
  const auto& ecdh = info.pk.ecdh;
  const auto& sign = info.pk.eccsign;
  const auto& make = info.pk.eckg;
  switch (info.pk.type) {
    case WC_PK_TYPE_ECDH:
      return outside_of_counting(ecdh.private_key, [&] {
        return wc_ecc_shared_secret(ecdh.private_key, ecdh.public_key, ecdh.out, ecdh.outlen);
      });
    case WC_PK_TYPE_ECDSA_SIGN:
      return outside_of_counting(sign.key, [&] {
        return wc_ecc_sign_hash(sign.in, sign.inlen, sign.out, sign.outlen, sign.rng, sign.key);
      });
    case WC_PK_TYPE_EC_KEYGEN:
      return outside_of_counting(make.key, [&] {
        return wc_ecc_make_key_ex(make.rng, make.size, make.key, make.curveId);
      });
    default:
      return CRYPTOCB_UNAVAILABLE;
  }
}

int on_operation(int, wc_CryptoInfo* info, void*) {
  switch (info->algo_type) {
    case WC_ALGO_TYPE_CIPHER:
      return info->cipher.type == WC_CIPHER_AES_GCM ? on_gcm(*info) : CRYPTOCB_UNAVAILABLE;
    case WC_ALGO_TYPE_PK:
      return on_curve(*info);
    case WC_ALGO_TYPE_RNG:
      return random_bytes(info->rng.out, info->rng.sz);
    case WC_ALGO_TYPE_SEED:
      return random_bytes(info->seed.seed, info->seed.sz);
    default:
      return CRYPTOCB_UNAVAILABLE;
  }
}

}  // namespace

bool fill_random(std::span<unsigned char> out) {
  return random_bytes(out.data(), static_cast<word32>(out.size())) == 0;
}

void wipe_secret(std::span<unsigned char> secret) {
  wipe(secret.data(), secret.size());
}

std::size_t RecordKeys::bytes_held() const {
  std::size_t bytes = 0;
  for (const auto& slot : slots_) bytes += slot != nullptr ? sizeof(Expanded) : 0;
  return bytes;
}

RecordKeys::RecordKeys() = default;
RecordKeys::~RecordKeys() = default;

RecordKeysInUse::RecordKeysInUse(RecordKeys* keys, RecordRules* rules)
    : keys_before_(t_keys), rules_before_(t_rules) {
  t_keys = keys;
  t_rules = rules;
}
RecordKeysInUse::~RecordKeysInUse() {
  t_keys = keys_before_;
  t_rules = rules_before_;
}

int record_cipher_device() {
  static const int device = [] {
    // The table of devices is the library's; it counts how often it was started.
    int result = wolfCrypt_Init();
    if (result == 0) result = wc_CryptoCb_RegisterDevice(kDevice, on_operation, nullptr);
    MXRING_ASSERT(result == 0);
    return kDevice;
  }();
  return device;
}

void use_fast_gcm(bool on) {
  g_fast.store(on, std::memory_order_relaxed);
}

}  // namespace mxring::net
