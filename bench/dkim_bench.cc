// Question: what does DKIM cost a message besides SHA-256 and the public-key operation? Input:
// clean text, indented HTML and text that is mostly blanks, in runs of 16 KiB; a letter of 10 KiB
// with one relaxed/relaxed signature whose key is cached. Unit: MB/s of body, nanoseconds a
// message. Compared in one run: canonicalization alone, with the hash behind it, and the hash
// alone.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/base64.h"
#include "crypto/private_key.h"
#include "crypto/sha256_batch.h"
#include "dns/cache.h"
#include "mail/header_index.h"
#include "mailauth/dkim/body_canon.h"
#include "mailauth/dkim/header_hasher.h"
#include "mailauth/dkim/signature.h"
#include "mailauth/dkim/signer.h"
#include "mailauth/dkim/verifier.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::dkim;

constexpr std::size_t kRunBytes = 16 * 1024;
constexpr std::size_t kBodyBytes = 1 << 20;

enum Kind : std::int64_t { kClean, kIndented, kBlanks };
constexpr const char* kKinds[] = {"clean text", "indented HTML", "mostly blanks"};

std::string body_of(std::int64_t kind, std::size_t bytes) {
  std::string body;
  for (std::size_t i = 0; body.size() < bytes; ++i) {
    if (kind == kClean) {
      body +=
          "This is a line of an ordinary letter, as people write them; it has seventy or so.\r\n";
    } else if (kind == kIndented) {
      body += std::string(2 * (i % 9), ' ') + "<td class=\"c" + std::to_string(i % 100) +
              "\"><a href=\"https://example.org/\">link</a></td>\r\n";
    } else {
      body += "a  b \t c \r\n";
    }
  }
  return body;
}

struct NoSink final : PieceSink {
  void take(std::string_view piece) override { bytes += piece.size(); }
  std::size_t bytes = 0;
};

struct HashSink final : PieceSink {
  void take(std::string_view piece) override { hashes.append(stream, piece); }
  crypto::Sha256Batch hashes;
  crypto::Sha256Stream stream;
};

template <class Work>
void for_runs(std::string_view body, const Work& work) {
  while (!body.empty()) {
    const std::string_view run = body.substr(0, kRunBytes);
    work(run);
    body.remove_prefix(run.size());
  }
}

void BM_Canonicalize(benchmark::State& state) {
  const std::string body = body_of(state.range(1), kBodyBytes);
  const auto how = static_cast<Canonicalization>(state.range(0));
  NoSink sink;
  for (auto _ : state) {
    BodyCanon canon(how);
    for_runs(body, [&](std::string_view run) { canon.feed(run, sink); });
    canon.finish(sink);
  }
  benchmark::DoNotOptimize(sink.bytes);
  state.SetBytesProcessed(static_cast<std::int64_t>(body.size()) * state.iterations());
  state.SetLabel(std::string(word(how)) + ", " + kKinds[state.range(1)]);
}
BENCHMARK(BM_Canonicalize)->ArgsProduct({{0, 1}, {kClean, kIndented, kBlanks}});

void BM_CanonicalizeAndHash(benchmark::State& state) {
  const std::string body = body_of(state.range(1), kBodyBytes);
  const auto how = static_cast<Canonicalization>(state.range(0));
  HashSink sink;
  for (auto _ : state) {
    BodyCanon canon(how);
    sink.stream.reset();
    for_runs(body, [&](std::string_view run) {
      canon.feed(run, sink);
      sink.hashes.flush();
    });
    canon.finish(sink);
    sink.hashes.finish(sink.stream);
    sink.hashes.flush();
    benchmark::DoNotOptimize(sink.stream.digest());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(body.size()) * state.iterations());
  state.SetLabel(std::string(word(how)) + ", " + kKinds[state.range(1)]);
}
BENCHMARK(BM_CanonicalizeAndHash)->ArgsProduct({{0, 1}, {kClean, kIndented, kBlanks}});

void BM_HashAlone(benchmark::State& state) {
  const std::string body = body_of(kClean, kBodyBytes);
  HashSink sink;
  for (auto _ : state) {
    sink.stream.reset();
    for_runs(body, [&](std::string_view run) {
      sink.take(run);
      sink.hashes.flush();
    });
    sink.hashes.finish(sink.stream);
    sink.hashes.flush();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(body.size()) * state.iterations());
}
BENCHMARK(BM_HashAlone);

// A signed letter, and its key in a cache.
struct Letter {
  explicit Letter(std::size_t body_bytes) {
    auto key = crypto::PrivateKey::generate_rsa(2048);
    if (!key) std::abort();
    SignOptions options;
    options.domain = "example.org";
    options.selector = "mail2026";
    Signer signer(*key, options);
    const std::string bare =
        "Received: from mail.example.net (mail.example.net [192.0.2.1])\r\n"
        "\tby mx.example.org with ESMTPS id 4Xyz; Sun, 22 Nov 2026 02:31:18 +0000\r\n"
        "From: \"A Person\" <person@example.org>\r\nTo: other@example.net\r\n"
        "Subject: A subject of ordinary length, about nothing\r\n"
        "Date: Sun, 22 Nov 2026 02:31:18 +0000\r\nMessage-ID: <1234567890@example.org>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: 8bit\r\nUser-Agent: something\r\n\r\n" +
        body_of(kClean, body_bytes);
    const auto field = signer.sign(bare);
    if (!field) std::abort();
    text = *field + bare;
    auto answer = std::make_shared<dns::Answer>();
    answer->status = dns::Status::kAnswer;
    answer->ttl_s = 3600;
    answer->texts = {"v=DKIM1; k=rsa; p=" + base::encode_base64(key->public_key())};
    cache.put({*dns::Name::parse("mail2026._domainkey.example.org"), dns::Type::kTxt}, answer, {});
    index.feed(text);
    index.finish();
  }
  std::string_view view() const { return text; }

  std::string text;
  dns::Cache cache{1 << 20};
  mail::HeaderIndex index{1 << 20, 1000};
};

// begin() to collect(), without the public-key operation. `flush`: the hashes as well.
void BM_Verify(benchmark::State& state) {
  Letter letter(static_cast<std::size_t>(state.range(0)));
  const std::string_view header = letter.view().substr(0, letter.index.header_bytes());
  const std::string_view body = letter.view().substr(letter.index.body_begin());
  crypto::Sha256Batch hashes;
  Verifier verifier({}, hashes);
  std::vector<crypto::RsaCheck*> checks;
  for (auto _ : state) {
    verifier.begin(header, letter.index.fields(), 1'800'000'000);
    while (!verifier.step()) {
      for (const dns::Question& question : verifier.questions()) {
        verifier.supply(question, letter.cache.find(question, {1}));
      }
    }
    for_runs(body, [&](std::string_view run) { verifier.body(run); });
    verifier.end_of_body();
    hashes.flush();
    checks.clear();
    verifier.collect(checks);
    if (checks.size() != 1) std::abort();
  }
  state.SetLabel(fmt::format("{} bytes of body, SHA-256 included", state.range(0)));
}
BENCHMARK(BM_Verify)->Arg(0)->Arg(10 * 1024)->Arg(100 * 1024);

// The two hashes of BM_Verify, of as many bytes in one piece each.
void BM_ItsHashesAlone(benchmark::State& state) {
  Letter letter(static_cast<std::size_t>(state.range(0)));
  const std::string_view body = letter.view().substr(letter.index.body_begin());
  crypto::Sha256Batch hashes;
  crypto::Sha256Stream streams[2];
  for (auto _ : state) {
    for (crypto::Sha256Stream& stream : streams) stream.reset();
    hashes.append(streams[0], body);
    hashes.append(streams[1], letter.view().substr(0, letter.index.header_bytes()));
    for (crypto::Sha256Stream& stream : streams) hashes.finish(stream);
    hashes.flush();
    benchmark::DoNotOptimize(streams[0].digest());
  }
}
BENCHMARK(BM_ItsHashesAlone)->Arg(0)->Arg(10 * 1024)->Arg(100 * 1024);

void BM_ParseSignature(benchmark::State& state) {
  Letter letter(0);
  const mail::Field& field = *letter.index.first(mail::FieldName::kDkimSignature);
  const std::string_view value = letter.view().substr(field.value, field.end - field.value - 2);
  SignatureParser parser;
  Signature signature;
  std::string bytes;
  for (auto _ : state) benchmark::DoNotOptimize(parser.parse(value, signature, bytes));
}
BENCHMARK(BM_ParseSignature);

void BM_HeaderHash(benchmark::State& state) {
  Letter letter(0);
  const mail::Field& field = *letter.index.first(mail::FieldName::kDkimSignature);
  const std::string_view value = letter.view().substr(field.value, field.end - field.value - 2);
  SignatureParser parser;
  Signature signature;
  std::string bytes;
  if (parser.parse(value, signature, bytes)) std::abort();
  crypto::Sha256Batch hashes;
  HeaderHasher hasher(hashes);
  crypto::Sha256Stream stream;
  const std::string_view header = letter.view().substr(0, letter.index.header_bytes());
  for (auto _ : state) {
    stream.reset();
    hasher.begin(header, letter.index.fields());
    hasher.add(signature, 0, stream);
    hashes.flush();
    benchmark::DoNotOptimize(stream.digest());
  }
}
BENCHMARK(BM_HeaderHash);

}  // namespace
