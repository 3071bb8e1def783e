#include "relay/webhook_signature.h"

#include <fmt/format.h>

#include "base/base64.h"

namespace mxring::relay {

crypto::Sha256Digest hmac_sha256(std::string_view key, std::string_view a, std::string_view b) {
  constexpr std::size_t kBlock = 64;
  std::array<char, kBlock> inner{}, outer{};
  std::string hashed;
  if (key.size() > kBlock) {
    const auto digest = crypto::sha256(key);
    hashed.assign(reinterpret_cast<const char*>(digest.data()), digest.size());
    key = hashed;
  }
  for (std::size_t i = 0; i < kBlock; ++i) {
    const char byte = i < key.size() ? key[i] : '\0';
    inner[i] = static_cast<char>(byte ^ 0x36);
    outer[i] = static_cast<char>(byte ^ 0x5C);
  }
  crypto::Sha256 hash;
  hash.update({inner.data(), kBlock});
  hash.update(a);
  hash.update(b);
  const auto digest = hash.finish();
  hash.update({outer.data(), kBlock});
  hash.update({reinterpret_cast<const char*>(digest.data()), digest.size()});
  return hash.finish();
}

std::expected<WebhookSecrets, std::string> WebhookSecrets::parse(std::string_view text) {
  constexpr std::string_view kPrefix = "whsec_";
  constexpr std::size_t kKeyMin = 16;  // a shorter one can be guessed
  WebhookSecrets secrets;
  int number = 0;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.remove_suffix(1);
    if (line.empty() || line.starts_with('#')) continue;
    std::string key;
    if (!line.starts_with(kPrefix) ||
        !base::decode_base64(line.substr(kPrefix.size()), base::Base64::kStrict, key)) {
      return std::unexpected(fmt::format("line {} is no secret: write whsec_ and base64", number));
    }
    if (key.size() < kKeyMin) {
      return std::unexpected(
          fmt::format("the secret in line {} has {} bytes; use 24 to 64", number, key.size()));
    }
    secrets.keys_.push_back(std::move(key));
  }
  if (secrets.keys_.empty()) return std::unexpected("there is no secret in it");
  return secrets;
}

std::string WebhookSecrets::sign(std::string_view id, std::int64_t timestamp,
                                 std::string_view body) const {
  const std::string head = fmt::format("{}.{}.", id, timestamp);
  std::string out;
  for (const std::string& key : keys_) {
    const auto digest = hmac_sha256(key, head, body);
    if (!out.empty()) out += ' ';
    out += "v1,";
    base::append_base64(out, {reinterpret_cast<const char*>(digest.data()), digest.size()});
  }
  return out;
}

}  // namespace mxring::relay
