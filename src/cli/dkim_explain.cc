#include "cli/dkim_explain.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/text.h"
#include "base/units.h"
#include "crypto/sha256_batch.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/field_index.h"
#include "mailauth/dkim/header_canon.h"
#include "mailauth/dkim/signature.h"

namespace mxring::cli {

namespace {

namespace dkim = mailauth::dkim;

constexpr std::size_t kLinesTried = 64;  // left out at the end of a body
constexpr std::size_t kHashBytesMax = 256 * 1024 * 1024;

// One canonical form of a body, hashed, or its first `bytes_max` bytes.
class BodyTrial final : public dkim::PieceSink {
 public:
  BodyTrial(crypto::Sha256Batch& hashes, std::uint64_t bytes_max)
      : hashes_(hashes), left_(bytes_max) {}
  void take(std::string_view piece) override {
    const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size()));
    hashes_.append(stream_, piece.substr(0, bytes));
    left_ -= bytes;
  }
  void run(std::string_view body, dkim::Canonicalization canonicalization) {
    dkim::BodyCanon canon(canonicalization);
    canon.feed(body, *this);
    canon.finish(*this);
    hashes_.finish(stream_);
  }
  const crypto::Sha256Digest& digest() const { return stream_.digest(); }

 private:
  crypto::Sha256Batch& hashes_;
  crypto::Sha256Stream stream_;
  std::uint64_t left_;
};

class Explainer {
 public:
  Explainer(std::string_view message, const mail::HeaderIndex& index, const mail::Field& field)
      : message_(message), index_(index), body_(message.substr(index.body_begin())) {
    std::string_view value = message.substr(field.value, field.end - field.value);
    if (value.ends_with("\r\n")) value.remove_suffix(2);
    readable_ = !parser_.parse(value, signature_, bytes_);
    own_ = static_cast<std::uint32_t>(&field - index.fields().data());
  }

  bool readable() const { return readable_; }
  std::string covers(const dkim::SignatureResult& result);
  std::vector<std::string> body_hints();
  std::vector<std::string> header_hints();

 private:
  bool body_matches(std::string_view body, dkim::Canonicalization canonicalization);
  std::size_t lines_added();
  std::string relaxed(std::string_view name, std::string_view value) const;

  std::string_view message_;
  const mail::HeaderIndex& index_;
  std::string_view body_;
  dkim::SignatureParser parser_;
  dkim::Signature signature_;
  std::string bytes_;
  std::uint32_t own_ = 0;
  bool readable_ = false;
};

std::string Explainer::covers(const dkim::SignatureResult& result) {
  dkim::FieldIndex fields;
  fields.build(message_, index_.fields());
  fields.begin_selection();
  std::string present;
  std::string absent;
  dkim::ColonList names(signature_.signed_fields);
  std::string_view name;
  while (names.next(name)) {
    std::string& list = fields.take(name, own_) ? present : absent;
    if (!list.empty()) list += ' ';
    base::append_escaped(list, name);
  }
  std::string out = present;
  if (!absent.empty()) out += fmt::format("; that there is no (other) {}", absent);
  if (result.body_limited) {
    out += fmt::format("; only the first {} bytes of the body (l=): more may have been added",
                       result.body_bytes_signed);
  } else if (signature_.body_bytes && result.result != mailauth::Result::kPass) {
    out += fmt::format("; the first {} bytes of the body (l=)", *signature_.body_bytes);
  } else {
    out += "; the whole body";
  }
  return out;
}

bool Explainer::body_matches(std::string_view body, dkim::Canonicalization canonicalization) {
  crypto::Sha256Batch hashes;
  BodyTrial trial(hashes, signature_.body_bytes.value_or(UINT64_MAX));
  trial.run(body, canonicalization);
  hashes.flush();
  return trial.digest() == signature_.body_hash;
}

// How many lines at the end have to go for the hash to match; 0: none of those tried.
std::size_t Explainer::lines_added() {
  if (signature_.body_bytes) return 0;
  const std::size_t tries =
      std::min(kLinesTried, kHashBytesMax / std::max<std::size_t>(body_.size(), 1));
  crypto::Sha256Batch hashes;
  std::vector<std::unique_ptr<BodyTrial>> trials;
  std::string_view rest = body_;
  while (trials.size() < tries && !rest.empty()) {
    if (rest.ends_with("\r\n")) rest.remove_suffix(2);
    const std::size_t line = rest.rfind("\r\n");
    rest = rest.substr(0, line == std::string_view::npos ? 0 : line + 2);
    trials.push_back(std::make_unique<BodyTrial>(hashes, UINT64_MAX));
    trials.back()->run(rest, signature_.body);
  }
  hashes.flush();
  for (std::size_t i = 0; i < trials.size(); ++i) {
    if (trials[i]->digest() == signature_.body_hash) return i + 1;
  }
  return 0;
}

std::vector<std::string> Explainer::body_hints() {
  const bool simple = signature_.body == dkim::Canonicalization::kSimple;
  const auto other = simple ? dkim::Canonicalization::kRelaxed : dkim::Canonicalization::kSimple;
  if (body_matches(body_, other)) {
    return {
        fmt::format("the body hash matches under {} canonicalization: the signer used another "
                    "than c= says",
                    word(other))};
  }
  if (const std::size_t lines = lines_added(); lines != 0) {
    return {fmt::format("the body hash matches without the last {}: {} added on the way",
                        base::counted(lines, "line"), lines == 1 ? "it was" : "they were")};
  }
  if (!body_.ends_with("\r\n") && simple &&
      body_matches(body_.substr(0, body_.rfind("\r\n") + 2), signature_.body)) {
    return {"the body hash matches without the unfinished last line"};
  }
  return {
      "the body is not the one that was signed: changed on the way, or signed before its "
      "transfer encoding was chosen"};
}

std::string Explainer::relaxed(std::string_view name, std::string_view value) const {
  std::string out(name.size() + value.size() + dkim::kSlackBytes, '\0');
  if (value.ends_with("\r\n")) value.remove_suffix(2);
  const char* end = dkim::relax_field(name, value, out.data());
  out.resize(static_cast<std::size_t>(end - out.data()) - 2);
  return out;
}

// z= has copies of the fields as they were signed.
std::vector<std::string> Explainer::header_hints() {
  std::vector<std::string> hints;
  std::string_view rest = signature_.copied_fields;
  while (!rest.empty()) {
    const std::size_t bar = std::min(rest.find('|'), rest.size());
    std::string copy;
    dkim::decode_quoted(rest.substr(0, bar), copy);
    rest.remove_prefix(std::min(bar + 1, rest.size()));
    const std::size_t colon = copy.find(':');
    if (colon == std::string::npos) continue;
    const std::string_view name = std::string_view(copy).substr(0, colon);
    const std::string signed_form = relaxed(name, std::string_view(copy).substr(colon + 1));
    const bool there = std::ranges::any_of(index_.fields(), [&](const mail::Field& field) {
      return relaxed(message_.substr(field.begin, field.name_bytes),
                     message_.substr(field.value, field.end - field.value)) == signed_form;
    });
    if (!there) {
      hints.push_back(fmt::format("it was signed with {}, and the message has no such field",
                                  base::escaped(signed_form)));
    }
  }
  if (hints.empty()) {
    hints.push_back(
        "the body is as it was signed: one of the fields above was changed, added or removed, or "
        "the key in DNS is not the one that signed");
  }
  return hints;
}

}  // namespace

DkimExplanation explain_dkim(std::string_view message, const mail::HeaderIndex& index,
                             const mail::Field& field, const dkim::SignatureResult& result) {
  Explainer explainer(message, index, field);
  if (!explainer.readable()) return {};
  DkimExplanation explanation{explainer.covers(result), {}};
  // The verifier's own words for a name without a record.
  if (result.reason == "no key for signature") {
    explanation.hints = {
        fmt::format("nothing at {}._domainkey.{}: publish the record that \"dkim keygen\" printed",
                    base::escaped(result.selector), base::escaped(result.domain))};
  }
  if (result.result != mailauth::Result::kFail) return explanation;
  // The verifier's own words for the two ways to fail.
  explanation.hints =
      result.reason.starts_with("signature") ? explainer.header_hints() : explainer.body_hints();
  return explanation;
}

}  // namespace mxring::cli
