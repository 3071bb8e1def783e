#include "tests/sim/signer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <fstream>
#include <sstream>
#include <string_view>
#include <vector>

#include "base/base64.h"
#include "crypto/private_key.h"
#include "crypto/sha256.h"
#include "tests/sim/world.h"

namespace mxring::sim {

namespace {

struct Key {
  const char* file;
  const char* selector;
  crypto::PrivateKey key;
};

std::vector<Key>& keys() {
  static std::vector<Key> loaded = [] {
    std::vector<Key> all;
    for (const auto& [file, selector] :
         {std::pair{"ed25519_rfc8032_test1.pem", "ed"}, std::pair{"rsa1024_pkcs8.pem", "small"},
          std::pair{"rsa2048_pkcs1.pem", "large"}}) {
      std::ifstream input(std::string(MXRING_SIM_KEYS "/") + file);
      std::stringstream text;
      text << input.rdbuf();
      auto key = crypto::PrivateKey::from_pem(text.str());
      if (!key) convict(fmt::format("{}: {}", file, key.error()));
      all.push_back({file, selector, *std::move(key)});
    }
    return all;
  }();
  return loaded;
}

std::string hash(std::string_view bytes) {
  crypto::Sha256 sha;
  sha.update(bytes);
  const crypto::Sha256Digest digest = sha.finish();
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

bool is_blank(char c) {
  return c == ' ' || c == '\t';
}

// Runs of blanks become one, and go at the end.
std::string squeezed(std::string_view line) {
  std::string out;
  for (const char c : line) {
    if (!is_blank(c)) out += c;
    if (is_blank(c) && (out.empty() || out.back() != ' ')) out += ' ';
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

std::string canonical_body(std::string_view body, bool relaxed) {
  std::vector<std::string> lines;
  while (!body.empty()) {
    const std::size_t end = body.find("\r\n");
    const std::string_view line = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 2);
    lines.push_back(relaxed ? squeezed(line) : std::string(line));
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  if (lines.empty()) return relaxed ? "" : "\r\n";
  std::string out;
  for (const std::string& line : lines) out += line + "\r\n";
  return out;
}

// One line, as those of lives are.
std::string canonical_field(std::string_view field, bool relaxed) {
  if (!relaxed) return std::string(field);
  const std::size_t colon = field.find(':');
  std::string name(field.substr(0, colon));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string value = squeezed(field.substr(colon + 1));
  if (value.starts_with(' ')) value.erase(0, 1);
  return name + ":" + value;
}

struct Wanted {
  std::string domain = "signed.example";
  std::string selector;  // of the record that is named; empty: the key's own
  std::string times;     // t= and x=
  bool relaxed_header = false;
  bool relaxed_body = false;
  bool spoils_hash = false;
  bool spoils_signature = false;
};

std::string signature(Key& key, const Wanted& wanted, std::string_view message) {
  const std::size_t empty_line = message.find("\r\n\r\n");
  std::string body = canonical_body(message.substr(empty_line + 4), wanted.relaxed_body);
  if (wanted.spoils_hash) body += "and more\r\n";
  std::string field = fmt::format(
      "DKIM-Signature: v=1; a={}; c={}/{}; d={}; s={};{} h=From:To:Subject; bh={}; b=",
      key.key.type() == crypto::KeyType::kRsa ? "rsa-sha256" : "ed25519-sha256",
      wanted.relaxed_header ? "relaxed" : "simple", wanted.relaxed_body ? "relaxed" : "simple",
      wanted.domain, wanted.selector.empty() ? key.selector : wanted.selector.c_str(), wanted.times,
      base::encode_base64(hash(body)));
  std::string signed_bytes;
  for (const std::string_view name : {"From:", "To:", "Subject:"}) {
    std::size_t at = message.starts_with(name) ? 0 : message.find("\r\n" + std::string(name));
    if (at == std::string_view::npos) continue;
    if (at > 0) at += 2;
    const std::string_view line = message.substr(at, message.find("\r\n", at) - at);
    signed_bytes += canonical_field(line, wanted.relaxed_header) + "\r\n";
  }
  signed_bytes += canonical_field(field, wanted.relaxed_header);
  const std::string digest = hash(signed_bytes);
  crypto::Sha256Digest array;
  std::ranges::copy(digest, reinterpret_cast<char*>(array.data()));
  std::string raw = key.key.sign(array).value();
  if (wanted.spoils_signature) raw[raw.size() / 2] = static_cast<char>(raw[raw.size() / 2] ^ 1);
  return field + base::encode_base64(raw) + "\r\n";
}

// One that does not count, for a reason.
std::string bad_one(Dice& dice, Key& key, std::string_view message, std::uint64_t& near) {
  Wanted wanted;
  wanted.relaxed_header = dice.permille(500);
  wanted.relaxed_body = dice.permille(500);
  switch (dice.below(7)) {
    case 0:
      wanted.spoils_hash = true;
      break;
    case 1:
      wanted.spoils_signature = true;
      break;
    case 2:
      wanted.times = " t=1577836800; x=1577923200;";  // of 2020
      break;
    case 3:
      wanted.domain = "other.example";  // good, but not of the author's domain
      break;
    case 4:
      wanted.selector = "revoked";
      break;
    case 5:
      wanted.selector = "nowhere";
      break;
    default:
      wanted.selector = key.selector == std::string_view("large") ? "small" : "large";
      break;
  }
  // Those nearest to the author's domain are looked at first.
  if (wanted.domain == "signed.example") ++near;
  return signature(key, wanted, message);
}

constexpr std::uint64_t kSignaturesMax = 10;

}  // namespace

void Signer::publish(SimResolver& resolver) {
  resolver.add_text("signed.example", "v=spf1 -all");
  resolver.add_text("sub.signed.example", "v=spf1 -all");
  resolver.add_text("_dmarc.signed.example", "v=DMARC1; p=reject");
  for (const std::string domain : {"signed.example", "other.example"}) {
    for (Key& key : keys()) {
      const char* type = key.key.type() == crypto::KeyType::kRsa ? "rsa" : "ed25519";
      resolver.add_text(
          fmt::format("{}._domainkey.{}", key.selector, domain),
          fmt::format("v=DKIM1; k={}; p={}", type, base::encode_base64(key.key.public_key())));
    }
    resolver.add_text("revoked._domainkey." + domain, "v=DKIM1; p=");
  }
}

bool Signer::sign(Dice& dice, std::string& message) {
  Key& key = keys()[dice.pick<std::size_t>({0, 0, 0, 1, 1, 2})];
  const bool good = dice.permille(500);
  // A good one after so many bad ones that nobody looks at it any more is none.
  // No more Ed25519 than one message may cost.
  const bool few = dice.permille(800) || key.key.type() == crypto::KeyType::kEd25519;
  const std::uint64_t before = few ? dice.below(4) : dice.below(14);
  std::uint64_t near = 0;
  std::string on_top;
  for (std::uint64_t i = 0; i < before; ++i) on_top += bad_one(dice, key, message, near);
  if (good) {
    Wanted wanted;
    wanted.relaxed_header = dice.permille(500);
    wanted.relaxed_body = dice.permille(500);
    if (dice.permille(300)) wanted.times = " t=1577836800; x=4102444800;";
    on_top += signature(key, wanted, message);
  } else if (dice.permille(800) || before == 0) {
    on_top += bad_one(dice, key, message, near);
  }
  message.insert(0, on_top);
  return good && near < kSignaturesMax;
}

}  // namespace mxring::sim
