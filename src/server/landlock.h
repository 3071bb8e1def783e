// Landlock: from now on this process opens, makes and removes files only below the paths it names,
// and connects by TCP only to the ports it names. No privilege is needed, and nobody can take it
// back. The kernel is asked what it knows (its ABI) and given no more than that:
//
//   ABI  kernel  what it adds
//   1    5.13    files and folders
//   2    5.19    renaming and linking from one folder into another
//   3    6.2     truncating by name
//   4    6.7     TCP: bind and connect
//   5    6.10    ioctl on devices
//   6    6.12    signals to processes outside
//
// Thread: the first, before any other exists; later ones inherit it.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

namespace mxring::server {

enum class PathUse : std::uint8_t {
  kRead,    // files, and what a folder contains
  kRemove,  // files directly or anywhere below it
  kWrite,   // files, made if need be; not read
  kSocket,  // sockets made and removed directly or anywhere below it
  kChange,  // everything but executing
};

struct PathRule {
  std::string
      path;  // a folder with all below it, or one file; one that does not exist is passed over
  PathUse use = PathUse::kRead;
  std::string_view reason;
};

// 0: this kernel has no Landlock, or it is switched off, or we are not let.
int landlock_abi();

// Needs no_new_privs. The error names what failed.
std::expected<void, std::string> confine_paths(std::span<const PathRule> rules,
                                               std::span<const std::uint16_t> tcp_ports);

}  // namespace mxring::server
