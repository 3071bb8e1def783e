// Any bytes as the beginning of a connection; any prefix never says more than the whole.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "net/client_hello.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::net;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  ClientHello hello;
  const HelloOutcome whole = read_client_hello(bytes, hello);
  if (whole == HelloOutcome::kHello) {
    MXRING_ASSERT(hello.server_name.size() <= kServerNameBytesMax);
    MXRING_ASSERT(hello.server_name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-_.") ==
                  std::string::npos);
    const std::string_view print = hello.fingerprint.view();
    MXRING_ASSERT(print.empty() || (print.size() == Ja4::kBytes && print[10] == '_' &&
                                    print[23] == '_' && print[0] == 't'));
  }
  bool decided = false;
  for (std::size_t cut = 0; cut <= size; cut += 1 + size / 64) {
    ClientHello shorter;
    const HelloOutcome part = read_client_hello(bytes.substr(0, cut), shorter);
    // Once decided, more bytes change nothing.
    if (decided) MXRING_ASSERT(part == whole);
    decided = decided || part != HelloOutcome::kMore;
  }
  return 0;
}
