// The header index fed in pieces against the line-by-line reference. The first three bytes choose
// limits and pieces.
#include <cstdint>
#include <memory>
#include <string_view>

#include "base/assert.h"
#include "mail/header_index.h"
#include "tests/mail/reference_header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::mail;
  if (size < 3) return 0;
  const std::string_view message(reinterpret_cast<const char*>(data) + 3, size - 3);
  const std::uint32_t bytes_max = data[0] < 128 ? 100'000U : data[0];
  const std::uint32_t fields_max = data[1] < 128 ? 1000U : data[1] - 128U;
  const ReferenceHeader wanted = reference_header(message, bytes_max, fields_max);

  HeaderIndex index(bytes_max, fields_max);
  const std::size_t piece_max = 1U + data[2];
  std::uint32_t random = data[2];
  for (std::size_t at = 0; at < message.size();) {
    random = random * 1664525U + 1013904223U;
    const std::size_t bytes = std::min(message.size() - at, 1 + (random >> 16) % piece_max);
    const auto piece = std::make_unique<char[]>(bytes);
    message.copy(piece.get(), bytes, at);
    index.feed({piece.get(), bytes});
    at += bytes;
  }
  MXRING_ASSERT(index.finish() == wanted.status);
  MXRING_ASSERT(index.fields().size() == wanted.fields.size());
  for (std::size_t i = 0; i < wanted.fields.size(); ++i) {
    const Field& field = index.fields()[i];
    MXRING_ASSERT(field.begin == wanted.fields[i].begin && field.end == wanted.fields[i].end);
    MXRING_ASSERT(field.name_bytes == wanted.fields[i].name_bytes);
    MXRING_ASSERT(field.value == wanted.fields[i].value);
    MXRING_ASSERT(field.name == find_field_name(message.substr(field.begin, field.name_bytes)));
  }
  if (wanted.status == HeaderStatus::kComplete) {
    MXRING_ASSERT(index.end() == wanted.end);
    MXRING_ASSERT(index.header_bytes() == wanted.header_bytes);
    MXRING_ASSERT(index.body_begin() == wanted.body_begin);
  }
  return 0;
}
