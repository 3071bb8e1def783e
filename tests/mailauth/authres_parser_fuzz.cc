// Any text as a value: what was read is within bounds and, built again, is read as the same.
// Whatever the parser takes for ours, readers are not given.
#include "base/assert.h"
#include "base/text.h"
#include "mailauth/authres/builder.h"
#include "mailauth/authres/forged.h"
#include "mailauth/authres/parser.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::authres;

constexpr std::string_view kHost = "mx.example.org";

// The builder takes words of ours only, letters and digits with hyphens.
bool is_plain_word(std::string_view word) {
  return !word.empty() && word.find('_') == std::string_view::npos;
}

Fields without_odd_words(const Fields& fields) {
  Fields out = fields;
  std::erase_if(out.results, [](const MethodResult& result) {
    return !is_plain_word(result.method) || !is_plain_word(result.result);
  });
  for (MethodResult& result : out.results) {
    std::erase_if(result.properties, [](const Property& property) {
      return !is_plain_word(property.type) || !is_plain_word(property.name);
    });
    const auto clean = [](std::string& value) {
      std::string cleaned;
      append_clean(cleaned, value);
      value = cleaned;
    };
    clean(result.reason);
    for (Property& property : result.properties) clean(property.value);
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = test::seed_bytes(data, size);
  const auto read = parse(text);
  claims_to_be_from(text, kHost);
  // In front of anything, our name is recognised.
  for (const std::string_view dress :
       {"mx.example.org;", "\"mx.example.org\";", "(x)mx.example.org ", "MX.(y)EXAMPLE.ORG(z);"}) {
    MXRING_ASSERT(claims_to_be_from(std::string(dress) + text, kHost) ||
                  dress == "(x)mx.example.org ");
  }
  if (!read) return 0;
  MXRING_ASSERT(read->results.size() <= kResultsMax);
  if (base::ascii_iequals(read->authserv_id, kHost)) MXRING_ASSERT(claims_to_be_from(text, kHost));
  const Fields expected = without_odd_words(*read);
  std::string field;
  Builder builder(field);
  builder.begin(kHost);
  for (const MethodResult& result : expected.results) {
    builder.result(result.method, result.result).reason(result.reason);
    for (const Property& property : result.properties) {
      builder.property(property.type, property.name, property.value);
    }
  }
  builder.end();
  const auto again = parse(std::string_view(field).substr(field.find(':') + 1));
  MXRING_ASSERT(again && again->results.size() == expected.results.size());
  // Cleaning escapes backslashes again, so only clean values must come back as they were.
  const auto is_clean = [](std::string_view value) {
    return value.find('\\') == std::string_view::npos && value.size() <= kValueBytesMax;
  };
  for (std::size_t i = 0; i < expected.results.size(); ++i) {
    const MethodResult& wanted = expected.results[i];
    const MethodResult& got = again->results[i];
    MXRING_ASSERT(got.method == wanted.method && got.result == wanted.result);
    MXRING_ASSERT(got.properties.size() == wanted.properties.size());
    for (std::size_t k = 0; k < wanted.properties.size(); ++k) {
      MXRING_ASSERT(got.properties[k].name == wanted.properties[k].name);
      MXRING_ASSERT(!is_clean(wanted.properties[k].value) ||
                    got.properties[k].value == wanted.properties[k].value);
    }
  }
  return 0;
}
