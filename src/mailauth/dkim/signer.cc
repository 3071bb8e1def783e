#include "mailauth/dkim/signer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "base/base64.h"
#include "base/text.h"
#include "mail/header_index.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/signature.h"

namespace mxring::mailauth::dkim {

namespace {

constexpr std::string_view kFieldName = "DKIM-Signature";
constexpr std::size_t kLineBytes = 76;

// RFC 6376 5.4.1; Message-ID and the MIME fields, because they decide what a reader sees; RFC 8058
// 4 for List-Unsubscribe-Post.
constexpr std::array<std::string_view, 27> kSignedFields{{"From",
                                                          "Reply-To",
                                                          "Subject",
                                                          "Date",
                                                          "To",
                                                          "Cc",
                                                          "Resent-Date",
                                                          "Resent-From",
                                                          "Resent-Sender",
                                                          "Resent-To",
                                                          "Resent-Cc",
                                                          "Resent-Message-ID",
                                                          "In-Reply-To",
                                                          "References",
                                                          "Message-ID",
                                                          "MIME-Version",
                                                          "Content-Type",
                                                          "Content-Transfer-Encoding",
                                                          "Sender",
                                                          "List-Id",
                                                          "List-Help",
                                                          "List-Unsubscribe",
                                                          "List-Unsubscribe-Post",
                                                          "List-Subscribe",
                                                          "List-Post",
                                                          "List-Owner",
                                                          "List-Archive"}};

class HashSink final : public PieceSink {
 public:
  HashSink(crypto::Sha256Batch& hashes, crypto::Sha256Stream& stream)
      : hashes_(hashes), stream_(stream) {}
  void take(std::string_view piece) override { hashes_.append(stream_, piece); }

 private:
  crypto::Sha256Batch& hashes_;
  crypto::Sha256Stream& stream_;
};

// A field value, folded before a word that would make its line too long.
class FoldedText {
 public:
  FoldedText(std::string& out, std::size_t line_begin) : out_(out), line_begin_(line_begin) {}

  // `glue`: what stands before the word when the line goes on; a fold takes its place.
  void word(std::string_view glue, std::string_view text) {
    if (out_.size() - line_begin_ + glue.size() + text.size() > kLineBytes) {
      fold();
    } else {
      out_ += glue;
    }
    out_ += text;
  }
  void fold() {
    out_ += "\r\n";
    line_begin_ = out_.size();
    out_ += '\t';
  }
  // Text that may be broken anywhere.
  void stretch(std::string_view text) {
    while (!text.empty()) {
      if (out_.size() - line_begin_ >= kLineBytes) fold();
      const std::size_t bytes = std::min(kLineBytes - (out_.size() - line_begin_), text.size());
      out_ += text.substr(0, bytes);
      text.remove_prefix(bytes);
    }
  }

 private:
  std::string& out_;
  std::size_t line_begin_;
};

std::size_t occurrences(std::string_view message, std::span<const mail::Field> fields,
                        std::string_view name) {
  const auto is_it = [&](const mail::Field& field) {
    return base::ascii_iequals(message.substr(field.begin, field.name_bytes), name);
  };
  return static_cast<std::size_t>(std::ranges::count_if(fields, is_it));
}

std::string_view bytes_of(const crypto::Sha256Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace

struct Signer::State {
  mail::HeaderIndex index{std::numeric_limits<std::uint32_t>::max(),
                          std::numeric_limits<std::uint32_t>::max()};
  crypto::Sha256Batch hashes;
  HeaderHasher headers{hashes};
  crypto::Sha256Stream body_hash;
  crypto::Sha256Stream header_hash;
  std::string header;  // the header section with our field on top
  std::vector<mail::Field> fields;
  SignatureParser parser;
  Signature signature;
  std::string no_signature;

  std::vector<std::string> names_to_sign(const SignOptions& options, std::string_view message);
  std::string unsigned_field(const crypto::PrivateKey& key, const SignOptions& options,
                             const std::vector<std::string>& names);
};

Signer::Signer(crypto::PrivateKey& key, SignOptions options)
    : key_(key), options_(std::move(options)), state_(std::make_unique<State>()) {}

Signer::~Signer() = default;

std::vector<std::string> Signer::State::names_to_sign(const SignOptions& options,
                                                      std::string_view message) {
  if (!options.signed_fields.empty()) return options.signed_fields;
  std::vector<std::string> names;
  for (const std::string_view name : kSignedFields) {
    std::size_t count = occurrences(message, index.fields(), name);
    // Once more than it is there: nobody can add another (RFC 6376 8.15).
    if (name == kSignedFields[0]) ++count;
    names.insert(names.end(), count, std::string(name));
  }
  return names;
}

// Up to and including "b=".
std::string Signer::State::unsigned_field(const crypto::PrivateKey& key, const SignOptions& options,
                                          const std::vector<std::string>& names) {
  std::string field(kFieldName);
  FoldedText text(field, 0);
  field += ':';
  const bool rsa = key.type() == crypto::KeyType::kRsa;
  text.word(" ", "v=1;");
  text.word(" ", rsa ? "a=rsa-sha256;" : "a=ed25519-sha256;");
  text.word(" ", fmt::format("c={}/{};", word(options.header), word(options.body)));
  text.word(" ", fmt::format("d={};", options.domain));
  text.word(" ", fmt::format("s={};", options.selector));
  text.word(" ", fmt::format("t={};", options.now_unix_s));
  if (options.expire_after_s) {
    text.word(" ", fmt::format("x={};", options.now_unix_s + *options.expire_after_s));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const bool last = i + 1 == names.size();
    text.word(i == 0 ? " " : "", (i == 0 ? "h=" : "") + names[i] + (last ? ";" : ":"));
  }
  text.word(" ", "bh=" + base::encode_base64(bytes_of(body_hash.digest())) + ";");
  text.fold();
  field += "b=";
  return field;
}

std::expected<std::string, std::string> Signer::sign(std::string_view message) {
  State& s = *state_;
  s.index.reset();
  s.index.feed(message);
  s.index.finish();
  if (s.index.count(mail::FieldName::kFrom) == 0) {
    return std::unexpected("the message has no From field, and that must be signed");
  }
  s.body_hash.reset();
  HashSink sink(s.hashes, s.body_hash);
  BodyCanon canon(options_.body);
  canon.feed(message.substr(s.index.body_begin()), sink);
  canon.finish(sink);
  s.hashes.finish(s.body_hash);
  s.hashes.flush();

  std::string field = s.unsigned_field(key_, options_, s.names_to_sign(options_, message));
  // The parser reads our own field, with b= something, as a verifier will.
  const std::size_t value_at = kFieldName.size() + 1;
  const std::string trial = field.substr(value_at) + "AAAA";
  if (const auto problem = s.parser.parse(trial, s.signature, s.no_signature)) {
    return std::unexpected(fmt::format("the signature would be malformed: {}{}{}", problem->what,
                                       problem->where.empty() ? "" : ": ",
                                       base::escaped(problem->where)));
  }
  s.header = field;
  s.header += "\r\n";
  const auto shift = static_cast<std::uint32_t>(s.header.size());
  s.header += message.substr(0, s.index.header_bytes());
  s.fields.assign(1, {.begin = 0,
                      .name_bytes = static_cast<std::uint32_t>(kFieldName.size()),
                      .value = static_cast<std::uint32_t>(value_at),
                      .end = shift,
                      .name = mail::FieldName::kDkimSignature});
  for (mail::Field moved : s.index.fields()) {
    moved.begin += shift;
    moved.value += shift;
    moved.end += shift;
    s.fields.push_back(moved);
  }
  s.signature.signature_raw = std::string_view(s.header).substr(field.size(), 0);
  s.headers.begin(s.header, s.fields);
  s.header_hash.reset();
  s.headers.add(s.signature, 0, s.header_hash);
  s.hashes.flush();
  const auto signature = key_.sign(s.header_hash.digest());
  if (!signature) return std::unexpected(signature.error());
  FoldedText text(field, field.rfind('\n') + 1);
  text.stretch(base::encode_base64(*signature));
  field += "\r\n";
  return field;
}

}  // namespace mxring::mailauth::dkim
