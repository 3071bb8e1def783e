// DNS messages: the query we send, the reply we understand (RFC 1035 4, RFC 2308 for negative
// answers, RFC 6891 for the size we can take). Pure functions over bytes.
//
// The reply is hostile input: every name and record is bounded, compression pointers lead backwards
// only, a reply has fewer of them than bytes (else it is malformed, so that reading it costs what
// it weighs), and aliases that go round are a malformed reply.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "dns/question.h"
#include "dns/record.h"

namespace mxring::dns {

constexpr std::size_t kUdpBytesMax = 1232;  // no fragments on any path (DNS flag day 2020)
constexpr std::size_t kQueryBytesMax = 12 + Name::kWireBytesMax + 4 + 11;

enum class MessageError : std::uint8_t {
  kNotAReply,      // too short, or a query
  kOtherQuestion,  // answers something else
  kTruncated,      // says so of itself
  kMalformed,      // a record or name that cannot be read, or aliases in a circle
};

struct Reply {
  Answer answer;
  std::uint16_t code = 0;  // RCODE, with the upper bits of an option record (RFC 6891 6.1.3)
  // The reply ended in an alias without its target's records: ask for those under this name.
  std::optional<Name> ask_next;
};

// Which letters of a question's name are capitals, one bit for each byte of its wire form. Names
// are the same in any case, and servers repeat the question as they got it: whoever forges a reply
// has to know these bits too (draft-vixie-dnsext-dns0x20).
using Capitals = std::array<std::uint8_t, (Name::kWireBytesMax + 7) / 8>;

// What a resolver may say that it does not say without an option record in the query: FORMERR,
// NOTIMP, BADVERS (RFC 6891 7, 6.1.3).
constexpr bool rejects_options(std::uint16_t code) {
  return code == 1 || code == 4 || code == 16;
}
constexpr std::uint16_t kRefused = 5;

// Writes a recursive query, with an EDNS option record or without; returns its size.
std::size_t write_query(const Question& question, std::uint16_t id, const Capitals& capitals,
                        bool options, std::span<std::uint8_t, kQueryBytesMax> out);
// Whether a reply's question is the one asked, byte for byte.
bool repeats_question(std::span<const std::uint8_t> message, const Question& question,
                      const Capitals& capitals);

std::expected<Reply, MessageError> parse_reply(std::span<const std::uint8_t> message,
                                               const Question& question);

// Reads the name at `at` and moves `at` past it. Nothing when it cannot be read; `at` is then of
// no use. `pointers` is how many compression pointers may be followed from now on.
std::optional<Name> read_name(std::span<const std::uint8_t> message, std::size_t& at,
                              std::size_t& pointers);
inline std::optional<Name> read_name(std::span<const std::uint8_t> message, std::size_t& at) {
  std::size_t pointers = message.size();
  return read_name(message, at, pointers);
}

}  // namespace mxring::dns
