// Who owns a path and who we are, in words: for errors that somebody else's files cause.
#pragma once

#include <filesystem>
#include <string>

namespace mxring::seglog {

// "belongs to root:root, mode 0750"; empty when even that cannot be seen.
std::string owned_by(const std::filesystem::path& path);
// The user this process acts as: its name, or its number.
std::string acting_user();
// ": it belongs to root:root, mode 0640, and this process is mxring; as root: chown -R mxring: LOG"
// when `error` is a refusal of access; empty for every other error.
std::string refusal_of_access(int error, const std::filesystem::path& path,
                              const std::filesystem::path& log);

}  // namespace mxring::seglog
