// A report file, in pieces of any size as well.
#include <cstdint>

#include "base/base64.h"
#include "decode/unpack.h"
#include "decode/xml_reader.h"
#include "tests/decode/fuzz_check.h"

namespace {

using namespace mxring::decode;

class Bytes final : public UnpackSink {
 public:
  bool take(std::string_view bytes) override {
    text.append(bytes);
    return true;
  }
  bool next_entry() override {
    text += '|';
    return true;
  }
  std::string text;
};

class Trace final : public XmlHandler {
 public:
  void begin(std::string_view name) override { trace.append("<").append(name).append(">"); }
  void text(std::string_view text) override { trace.append(text); }
  void end() override { trace += "</>"; }
  bool go_on() const override { return true; }
  std::string trace;
};

std::string unpacked(std::string_view file, std::size_t piece, UnpackEnd& end) {
  static Unpacker unpacker;
  Bytes out;
  unpacker.begin(out, {1U << 20U, 100, 1U << 16U});
  for (std::size_t at = 0; at < file.size(); at += piece) {
    if (!unpacker.take(file.substr(at, piece))) break;
  }
  end = unpacker.finish();
  return out.text;
}

std::string traced(std::string_view xml, std::size_t piece, XmlError& error) {
  Trace trace;
  XmlReader reader;
  reader.begin(trace, 8);
  for (std::size_t at = 0; at < xml.size(); at += piece) reader.feed(xml.substr(at, piece));
  error = reader.finish();
  return trace.trace;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t piece = 1 + data[0] % 61U;
  const std::string_view file(reinterpret_cast<const char*>(data) + 1, size - 1);
  check_decode(with_part("application/octet-stream\r\nContent-Transfer-Encoding: base64",
                         mxring::base::encode_base64(file)));
  check_decode(file);
  UnpackEnd whole_end{}, piece_end{};
  const std::string whole = unpacked(file, size, whole_end);
  const std::string pieces = unpacked(file, piece, piece_end);
  if (whole_end == UnpackEnd::kGood) {
    MXRING_ASSERT(pieces == whole && piece_end == whole_end);
  }
  XmlError whole_error{}, piece_error{};
  MXRING_ASSERT(traced(file, size, whole_error) == traced(file, piece, piece_error));
  MXRING_ASSERT(whole_error == piece_error);
  return 0;
}
