// Prints what the walker and the decoder see in each file named on standard input, one JSON object
// a line: the parts in order with type, depth, decoded size and digest, the fields as text, and the
// facts. For differential_test.py and corpora_test.py.
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "base/json.h"
#include "crypto/sha256.h"
#include "decode/decode.h"
#include "decode/facts_json.h"
#include "mail/encoded_word.h"
#include "mail/mime_walker.h"

namespace {

using mxring::base::JsonWriter;
using mxring::mail::CharsetDecoder;
using mxring::mail::MimePart;
using mxring::mail::MimeWalker;

class Digest final : public mxring::mail::ByteSink {
 public:
  bool take(std::string_view bytes) override {
    sha256_.update(bytes);
    size_ += bytes.size();
    return true;
  }
  std::uint64_t size() const { return size_; }
  std::string hex() { return mxring::crypto::to_hex(sha256_.finish()); }

 private:
  mxring::crypto::Sha256 sha256_;
  std::uint64_t size_ = 0;
};

void dump(std::string_view message, CharsetDecoder& charsets, MimeWalker& walker,
          JsonWriter& json) {
  walker.walk(message, {}, charsets);
  json.key("parts").begin_array();
  for (const MimePart& part : walker.parts()) {
    json.begin_object();
    json.key("depth").value(part.depth);
    json.key("type").value(part.type.type + "/" + part.type.subtype);
    json.key("container").value(part.multipart || part.embedded);
    Digest digest;
    decode_transfer(part.encoding, walker.body(part), digest);
    json.key("size").value(digest.size()).key("sha256").value(digest.hex());
    json.key("parameters").begin_object();
    for (const auto& parameter : part.type.parameters) {
      json.key(parameter.name).value(parameter.value);
    }
    json.end_object();
    json.key("fields").begin_array();
    for (const auto& field : walker.fields(part)) {
      std::string text;
      decode_header_text(field.value, charsets, text);
      json.begin_array().value(field.name).value(text).end_array();
    }
    json.end_array().end_object();
  }
  json.end_array();
}

}  // namespace

int main() {
  CharsetDecoder charsets;
  MimeWalker walker;
  mxring::decode::Decoder decoder;
  mxring::decode::Facts facts;
  for (std::string path; std::getline(std::cin, path);) {
    std::ifstream file(path, std::ios::binary);
    const std::string message((std::istreambuf_iterator<char>(file)), {});
    JsonWriter json;
    json.begin_object().key("path").value(path);
    dump(message, charsets, walker, json);
    decoder.decode(message, {}, facts);
    json.key("facts");
    write_json(facts, json);
    json.end_object();
    std::cout << json.text() << '\n';
  }
  return 0;
}
