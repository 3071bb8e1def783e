// Address fields: what is accepted is clean, and means the same when it is written out plainly and
// read again.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "base/text.h"
#include "mail/mailbox.h"

namespace {

using namespace mxring::mail;

void check_clean(const Mailbox& mailbox) {
  MXRING_ASSERT(!mailbox.domain.empty());
  MXRING_ASSERT(mxring::base::is_valid_utf8(mailbox.domain));
  MXRING_ASSERT(mxring::base::is_valid_utf8(mailbox.local_part));
  for (const char c : mailbox.domain) {
    MXRING_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F && !(c >= 'A' && c <= 'Z'));
  }
  for (const std::string& text : {mailbox.local_part, mailbox.display_name}) {
    for (const char c : text) {
      MXRING_ASSERT((static_cast<unsigned char>(c) >= 0x20 && c != 0x7F) || c == '\t');
    }
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

void check_again(const Mailbox& mailbox) {
  const std::string plain =
      quoted(mailbox.display_name) + " <" + quoted(mailbox.local_part) + "@" + mailbox.domain + ">";
  const auto again = parse_single_mailbox(plain);
  MXRING_ASSERT(again && *again == mailbox);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view value(reinterpret_cast<const char*>(data), size);
  const auto list = parse_address_list(value, 50);
  const auto single = parse_single_mailbox(value);
  if (single) MXRING_ASSERT(list && list->size() == 1 && list->front() == *single);
  if (!list) return 0;
  MXRING_ASSERT(list->size() <= 50);
  for (const Mailbox& mailbox : *list) {
    check_clean(mailbox);
    check_again(mailbox);
  }
  return 0;
}
