// Body canonicalization: in runs whose lengths the input chooses, against the reference on the
// whole text. The first byte is the number of bytes after it that say how long the runs are.
#include <algorithm>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "tests/mailauth/dkim_reference.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring;
  if (size == 0) return 0;
  const std::size_t cuts = std::min<std::size_t>(data[0] % 16, size - 1);
  const std::string_view body(reinterpret_cast<const char*>(data) + 1 + cuts, size - 1 - cuts);
  for (const auto how :
       {mailauth::dkim::Canonicalization::kSimple, mailauth::dkim::Canonicalization::kRelaxed}) {
    mailauth::dkim::BodyCanon canon(how);
    test::CollectingSink sink;
    std::string_view rest = body;
    for (std::size_t i = 0; !rest.empty(); ++i) {
      const std::size_t wanted = cuts == 0 ? rest.size() : data[1 + i % cuts] + std::size_t{1};
      const std::string_view run = rest.substr(0, wanted);
      // Exactly as large as it is, so that a read beyond it is seen.
      const std::vector<char> copy(run.begin(), run.end());
      canon.feed({copy.data(), copy.size()}, sink);
      rest.remove_prefix(run.size());
    }
    canon.finish(sink);
    MXRING_ASSERT(sink.bytes == test::reference_body(how, body));
  }
  return 0;
}
