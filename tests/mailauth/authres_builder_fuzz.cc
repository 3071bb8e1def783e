// Values of any kind: what is built is one field, and is read back as what went in. Lines of the
// input become, in turn, a reason, a comment and property values.
#include <algorithm>

#include "base/assert.h"
#include "mailauth/authres/builder.h"
#include "mailauth/authres/forged.h"
#include "mailauth/authres/parser.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::authres;

std::string clean(std::string_view value) {
  std::string out;
  append_clean(out, value);
  return out;
}

void check_bytes(std::string_view field) {
  MXRING_ASSERT(field.ends_with("\r\n"));
  field.remove_suffix(2);
  std::size_t line = 0;
  for (std::size_t i = 0; i < field.size(); ++i, ++line) {
    if (field[i] == '\r') {
      MXRING_ASSERT(field.substr(i, 3) == "\r\n\t");
      MXRING_ASSERT(line < 998);
      i += 2;
      line = 0;
      continue;
    }
    const auto byte = static_cast<unsigned char>(field[i]);
    MXRING_ASSERT((byte >= 0x20 || byte == '\t') && byte != 0x7F);
  }
  MXRING_ASSERT(line < 998);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = test::seed_bytes(data, size);
  std::vector<std::string> values;
  for (std::size_t at = 0; at < text.size() && values.size() < 16;) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    values.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  // Also all of it, line ends included.
  values.push_back(text);
  std::string field;
  Builder builder(field);
  builder.begin("mx.example.org");
  for (const std::string& value : values) {
    builder.result("dkim", "pass").comment(value).reason(value).property("header", "d", value);
    builder.property("smtp", "mailfrom", value + "@" + value);
  }
  builder.end();
  check_bytes(field);
  const auto read = parse(std::string_view(field).substr(field.find(':') + 1));
  MXRING_ASSERT(read && read->authserv_id == "mx.example.org");
  MXRING_ASSERT(read->results.size() == values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const MethodResult& result = read->results[i];
    MXRING_ASSERT(result.method == "dkim" && result.result == "pass");
    MXRING_ASSERT(result.reason == clean(values[i]));
    MXRING_ASSERT(result.properties.size() == 2);
    MXRING_ASSERT(result.properties[0].value == clean(values[i]));
    MXRING_ASSERT(result.properties[1].value == clean(values[i] + "@" + values[i]));
  }
  // Our own field is recognised, and under no other name.
  const std::string_view value = std::string_view(field).substr(field.find(':') + 1);
  MXRING_ASSERT(claims_to_be_from(value, "MX.example.org"));
  MXRING_ASSERT(!claims_to_be_from(value, "mx.example.net"));
  return 0;
}
