// Arbitrary bytes as metadata: decoding never reads outside them, and what it accepts can be
// delivered.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "seglog/metadata.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  // The same bytes serve as the message that the ranges to leave out refer to.
  mxring::Record record;
  record.message = bytes;
  if (!mxring::seglog::decode_metadata(bytes, record)) return 0;
  const std::string delivered = record.delivered();
  if (delivered.size() > record.trace.size() + bytes.size()) std::abort();
  for (const mxring::Recipient& recipient : record.rcpt_to) {
    if (recipient.address.size() + recipient.original.size() > size) std::abort();
  }
  return 0;
}
