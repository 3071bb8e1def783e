// Any message through the whole verifier: one run of the body and many give the same results, and
// the results are words that a DKIM verifier has. The keys are those of the RFCs' examples.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "tests/mailauth/dkim_check.h"

namespace {

using namespace mxring;

const test::Zone& zone() {
  static const test::Zone instance = [] {
    test::Zone made;
    made.at("brisbane._domainkey.football.example.com")
        .texts.push_back({"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="});
    made.at("test._domainkey.football.example.com")
        .texts.push_back(
            {"v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3id"
             "Y6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj"
             "+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"});
    return made;
  }();
  return instance;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string message = test::with_crlf({reinterpret_cast<const char*>(data), size});
  test::DkimSetup setup;
  const auto whole = test::verify_dkim(message, zone(), setup);
  MXRING_ASSERT(whole.size() <= setup.limits.dkim_signatures);
  for (const auto& signature : whole) {
    MXRING_ASSERT(signature.result != mailauth::Result::kNone);
    MXRING_ASSERT(signature.result != mailauth::Result::kSoftfail);
    MXRING_ASSERT(signature.reason.empty() == (signature.result == mailauth::Result::kPass));
  }
  for (const std::size_t run : {5, 64}) {
    setup.run_bytes = run;
    setup.keys_first = run == 5;
    const auto split = test::verify_dkim(message, zone(), setup);
    MXRING_ASSERT(split.size() == whole.size());
    for (std::size_t i = 0; i < whole.size(); ++i) {
      MXRING_ASSERT(split[i].result == whole[i].result && split[i].reason == whole[i].reason);
      MXRING_ASSERT(split[i].body_bytes_signed == whole[i].body_bytes_signed);
      MXRING_ASSERT(split[i].body_limited == whole[i].body_limited);
    }
  }
  return 0;
}
