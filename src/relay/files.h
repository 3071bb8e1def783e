// Small files: secrets and configuration read whole, and files that appear whole and durable.
//
// Failure: one line for a person; errno where the caller decides by it.
#pragma once

#include <cstddef>
#include <expected>
#include <string>
#include <string_view>

namespace mxring::relay {

// Larger files are refused.
std::expected<std::string, std::string> read_small_file(const std::string& path,
                                                        std::size_t bytes_max);

// Written beside, synced, renamed. The folder is not synced. errno on failure.
std::expected<void, int> write_whole(int folder_fd, const std::string& name, std::string_view bytes,
                                     unsigned mode);
// For people, and no harm when it is not there: not synced, no error, no step of the fault seam.
void write_hint(int folder_fd, const std::string& name, std::string_view bytes, unsigned mode);

std::expected<void, int> write_all(int fd, std::string_view bytes);

}  // namespace mxring::relay
