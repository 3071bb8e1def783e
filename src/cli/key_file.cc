#include "cli/key_file.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/text.h"

namespace mxring::cli {

std::expected<crypto::PrivateKey, std::string> read_private_key(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return std::unexpected(fmt::format("{}: {}", base::escaped(path), std::strerror(errno)));
  }
  std::string pem{std::istreambuf_iterator<char>(file), {}};
  auto key = crypto::PrivateKey::from_pem(pem);
  // The file's text is the secret.
  ::explicit_bzero(pem.data(), pem.size());
  if (!key) return std::unexpected(fmt::format("{}: {}", base::escaped(path), key.error()));
  return key;
}

}  // namespace mxring::cli
