#include "tests/mailauth/dkim_check.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>

#include "mail/header_index.h"

namespace mxring::test {

using mailauth::dkim::SignatureResult;
using mailauth::dkim::Verifier;

std::string with_crlf(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')) out += '\r';
    out += text[i];
  }
  return out;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  return {std::istreambuf_iterator<char>(file), {}};
}

namespace {

void supply_keys(Verifier& verifier, const Zone& zone) {
  while (!verifier.step()) {
    for (const dns::Question& question : verifier.questions()) {
      verifier.supply(question, zone.answer(question));
    }
  }
}

void feed_body(Verifier& verifier, crypto::Sha256Batch& hashes, std::string_view body,
               const DkimSetup& setup) {
  std::size_t wanted = setup.first_run_bytes != 0 ? setup.first_run_bytes : setup.run_bytes;
  while (!body.empty()) {
    const std::size_t bytes = std::min(wanted, body.size());
    const std::vector<char> run(body.begin(), body.begin() + static_cast<std::ptrdiff_t>(bytes));
    verifier.body({run.data(), run.size()});
    hashes.flush();
    body.remove_prefix(bytes);
    wanted = setup.run_bytes;
  }
}

}  // namespace

std::vector<SignatureResult> verify_dkim(std::string_view message, const Zone& zone,
                                         const DkimSetup& setup) {
  mail::HeaderIndex index(UINT32_MAX, UINT32_MAX);
  index.feed(message);
  index.finish();
  crypto::Sha256Batch hashes;
  crypto::RsaVerifier rsa;
  Verifier verifier(setup.limits, hashes);
  {
    const std::vector<char> header(message.begin(), message.begin() + index.header_bytes());
    verifier.begin({header.data(), header.size()}, index.fields(), setup.now_unix_s, setup.author);
    hashes.flush();
  }
  if (setup.keys_first) supply_keys(verifier, zone);
  feed_body(verifier, hashes, message.substr(index.body_begin()), setup);
  verifier.end_of_body();
  if (!setup.keys_first) supply_keys(verifier, zone);
  hashes.flush();
  std::vector<crypto::RsaCheck*> checks;
  verifier.collect(checks);
  rsa.verify(checks);
  verifier.conclude();
  return {verifier.signatures().begin(), verifier.signatures().end()};
}

std::string dkim_words(const std::vector<SignatureResult>& signatures) {
  std::string words;
  for (const SignatureResult& signature : signatures) {
    if (!words.empty()) words += ' ';
    words += mailauth::word(signature.result);
  }
  return words;
}

std::string dkim_words(std::string_view message, const Zone& zone, const DkimSetup& setup) {
  return dkim_words(verify_dkim(message, zone, setup));
}

}  // namespace mxring::test
