#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "crypto/rsa.h"
#include "crypto/rsa_encoding.h"
#include "crypto/rsa_key_body.h"
#include "crypto/rsa_lanes.h"

namespace mxring::crypto {

namespace {

using Octets = std::array<std::uint8_t, kRsaBytesMax>;

std::span<const std::uint8_t> octets(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

}  // namespace

// Signatures wait here until eight of a size are together or no more come.
struct RsaVerifier::State {
  struct Group {
    std::array<RsaCheck*, kLanes> checks{};
    std::size_t count = 0;
  };

  std::unique_ptr<LaneScratch, LaneScratchDeleter> lanes;  // null: not to be used
  std::array<Group, kLaneDigits.size()> groups;
  std::array<Octets, kLanes> encodings;

  static bool in_range(const RsaPublicKey::Body& key, std::string_view signature) {
    // Both are big-endian and of one length, so their octets compare as their values do.
    return signature.size() == key.modulus.size() &&
           std::memcmp(signature.data(), key.modulus.data(), signature.size()) < 0;
  }

  static bool verify_one(const RsaPublicKey::Body& key, const RsaCheck& check) {
    Octets expected;
    Octets found;
    const std::size_t size = key.modulus.size();
    MXRING_ASSERT(size <= expected.size() && check.signature.size() == size);
    encode_message(std::span(expected).first(size), check.digest);
    return public_operation(key.modulus, key.exponent, octets(check.signature),
                            std::span(found).first(size)) &&
           std::memcmp(expected.data(), found.data(), size) == 0;
  }

  static const RsaPublicKey::Body& body(const RsaCheck& check) { return *check.key->body_; }

  void add(RsaCheck& check) {
    const RsaPublicKey::Body& key = body(check);
    // The choice. Eight lanes cost the same for one signature as for eight, and less than one in
    // wolfCrypt: 5.3 us against 6.0 at 1024 bits, 11 against 15 at 1536, 17 against 27 at 2048, 35
    // against 64 at 3072, 60 against 111 at 4096 (bench/README.md). So whatever the lanes can do
    // they do, and a few pending signatures need not wait for more. wolfCrypt is quicker only for
    // one signature alone of a size just above a size of the lanes (1040 to 1300, 2080 to 2320
    // bits), by a quarter; nobody has such keys. What cannot go into lanes (exponents that are not
    // 65537, processors without IFMA) has no digits.
    if (!in_range(key, check.signature)) {
      check.valid = false;
    } else if (!lanes || key.lanes.digits.empty()) {
      check.valid = verify_one(key, check);
    } else {
      MXRING_ASSERT(key.lanes.size < groups.size());
      Group& group = groups[key.lanes.size];
      group.checks[group.count++] = &check;
      if (group.count == kLanes) run(key.lanes.size);
    }
  }

  void run(std::size_t size) {
    MXRING_ASSERT(groups[size].count > 0 && groups[size].count <= kLanes);
    Group& group = groups[size];
    std::array<LaneInput, kLanes> inputs;
    for (std::size_t i = 0; i < group.count; ++i) {
      const RsaCheck& check = *group.checks[i];
      const RsaPublicKey::Body& key = body(check);
      const std::size_t length = key.modulus.size();
      MXRING_ASSERT(length <= encodings[i].size() && check.signature.size() == length);
      encode_message(std::span(encodings[i]).first(length), check.digest);
      inputs[i] = {.modulus = key.lanes.digits.data(),
                   .r_squared = key.lanes.digits.data() + kLaneDigits[size],
                   .n0_inverse = key.lanes.n0_inverse,
                   .signature = octets(check.signature).data(),
                   .encoding = encodings[i].data(),
                   .octets = length};
    }
    // The lanes that are left over do the first one again.
    std::fill(inputs.begin() + static_cast<std::ptrdiff_t>(group.count), inputs.end(), inputs[0]);
    MXRING_ASSERT(lanes != nullptr);
    const unsigned matches = match_lanes(*lanes, size, inputs);
    for (std::size_t i = 0; i < group.count; ++i) {
      group.checks[i]->valid = (matches >> i & 1) != 0;
    }
    group.count = 0;
  }
};

std::span<const RsaPath> rsa_paths() {
  static constexpr std::array kPaths = {RsaPath::kWolfCrypt, RsaPath::kLanes};
  return std::span(kPaths).first(lanes_available() ? 2 : 1);
}

RsaVerifier::RsaVerifier(std::span<const RsaPath> paths) : state_(std::make_unique<State>()) {
  const bool wanted = paths.empty() || std::ranges::find(paths, RsaPath::kLanes) != paths.end();
  if (wanted && lanes_available()) state_->lanes = make_lane_scratch();
}

RsaVerifier::~RsaVerifier() = default;

void RsaVerifier::verify(std::span<RsaCheck* const> checks) {
  for (RsaCheck* const check : checks) state_->add(*check);
  for (std::size_t size = 0; size < kLaneDigits.size(); ++size) {
    if (state_->groups[size].count != 0) state_->run(size);
  }
}

}  // namespace mxring::crypto
