// What a completion belongs to, packed into the ring's 64-bit user_data:
// {operation: 8, generation: 24, slot: 32}. The generation lets a completion that outlived its
// object be recognised as stale and dropped.
#pragma once

#include <cstdint>

namespace mxring::uring {

enum class Operation : std::uint8_t {
  kNone = 0,  // completions nobody waits for, such as a cancel's own
  kAccept,
  kReceive,
  kSend,
  kClose,
  kCancel,
  kConnect,
  kWake,  // read of an eventfd
  kPoll,
  kTimeout,
  kCount
};

struct Tag {
  Operation operation = Operation::kNone;
  std::uint32_t generation = 0;  // 24 bits
  std::uint32_t slot = 0;

  constexpr std::uint64_t pack() const {
    return (static_cast<std::uint64_t>(operation) << 56) |
           (static_cast<std::uint64_t>(generation & 0xFFFFFF) << 32) | slot;
  }
  static constexpr Tag unpack(std::uint64_t bits) {
    return {static_cast<Operation>(bits >> 56), static_cast<std::uint32_t>(bits >> 32) & 0xFFFFFF,
            static_cast<std::uint32_t>(bits)};
  }
  friend bool operator==(const Tag&, const Tag&) = default;
};

}  // namespace mxring::uring
