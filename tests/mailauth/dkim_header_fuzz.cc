// Header canonicalization of any field that the header index finds, against the reference; with
// something left out, against the reference of what remains.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "mail/header_index.h"
#include "mailauth/dkim/header_canon.h"
#include "tests/mailauth/dkim_reference.h"

namespace {

using namespace mxring;

void check(std::string_view name, std::string_view value) {
  std::vector<char> out(name.size() + value.size() + mailauth::dkim::kSlackBytes);
  const char* end = mailauth::dkim::relax_field(name, value, out.data());
  MXRING_ASSERT(end <= out.data() + out.size());
  const std::string_view relaxed(out.data(), static_cast<std::size_t>(end - out.data()));
  MXRING_ASSERT(relaxed == test::reference_relaxed_field(name, value));

  const std::size_t from = value.size() / 3;
  const std::string_view left_out = value.substr(from, value.size() / 3);
  std::string remains(value.substr(0, from));
  remains += value.substr(from + left_out.size());
  // Leaving something out may put a CR before an LF; fields of signatures have neither there.
  if (remains.find('\r') != std::string::npos || remains.find('\n') != std::string::npos) return;
  end = mailauth::dkim::relax_own_field(name, value, left_out, out.data());
  const std::string_view own(out.data(), static_cast<std::size_t>(end - out.data()));
  MXRING_ASSERT(std::string(own) + "\r\n" == test::reference_relaxed_field(name, remains));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  const std::string_view message(exact.data(), exact.size());
  mail::HeaderIndex index(UINT32_MAX, UINT32_MAX);
  index.feed(message);
  index.finish();
  for (const mail::Field& field : index.fields()) {
    std::string_view value = message.substr(field.value, field.end - field.value);
    if (value.ends_with("\r\n")) value.remove_suffix(2);
    check(message.substr(field.begin, field.name_bytes), value);
  }
  return 0;
}
