// A private key from a file, for the commands that sign.
#pragma once

#include <expected>
#include <string>

#include "crypto/private_key.h"

namespace mxring::cli {

// The error is a line for a person.
std::expected<crypto::PrivateKey, std::string> read_private_key(const std::string& path);

}  // namespace mxring::cli
