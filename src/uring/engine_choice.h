// Which engine carries out a ring's operations (uring/engine.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mxring::uring {

enum class EngineChoice : std::uint8_t {
  kAuto,  // what the environment's MXRING_SHARDS__ENGINE says; else io_uring, or epoll where that
          // cannot be had
  kIoUring,
  kEpoll,
};
// "auto", "io_uring" or "epoll".
std::optional<EngineChoice> parse_engine_choice(std::string_view word);

}  // namespace mxring::uring
