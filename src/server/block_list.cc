#include "server/block_list.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::server {

namespace {

std::uint32_t number_of(const base::IpAddress& address) {
  MXRING_ASSERT(address.is_v4());
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < 4; ++i) number = number << 8 | address.bytes()[i];
  return number;
}

bool is_in(const base::IpAddress& address, std::uint32_t network, unsigned length) {
  MXRING_ASSERT(length > 0 && length <= 32);
  return address.is_v4() && number_of(address) >> (32 - length) == network >> (32 - length);
}

// "1.2.0.192." or the nibbles of an IPv6 address, last first (RFC 5782 2.1, 2.4).
std::string turned_round(const base::IpAddress& address) {
  std::string text;
  const auto& bytes = address.bytes();
  if (address.is_v4()) {
    for (std::size_t i = 4; i-- > 0;) text += fmt::format("{}.", bytes[i]);
    return text;
  }
  for (std::size_t i = 16; i-- > 0;)
    text += fmt::format("{:x}.{:x}.", bytes[i] & 15, bytes[i] >> 4);
  return text;
}

}  // namespace

std::expected<BlockList, std::string> BlockList::parse(std::string_view entry) {
  const std::size_t equals = entry.find('=');
  const std::string_view zone = entry.substr(0, equals);
  const auto name = dns::Name::parse(zone);
  if (!name || name->is_root() || !name->is_host_name()) {
    return std::unexpected(
        fmt::format("\"{}\" is no zone's name", base::escaped(zone.substr(0, 80))));
  }
  BlockList list;
  list.zone_ = std::string(zone);
  if (equals == std::string_view::npos) return list;
  const std::string_view range = entry.substr(equals + 1);
  const std::size_t slash = range.find('/');
  const auto address = base::IpAddress::parse(range.substr(0, slash));
  unsigned length = 32;
  bool good = address && address->is_v4() && address->bytes()[0] == 127;
  if (slash != std::string_view::npos) {
    const char* end = range.data() + range.size();
    const auto [at, error] = std::from_chars(range.data() + slash + 1, end, length);
    good = good && error == std::errc{} && at == end && length >= 8 && length <= 32;
  }
  if (!good) {
    return std::unexpected(fmt::format("\"{}\" is no network in 127.0.0.0/8, as 127.0.0.2/31",
                                       base::escaped(range.substr(0, 80))));
  }
  list.mask_ = ~std::uint32_t{0} << (32 - length);
  list.network_ = number_of(*address);
  if ((list.network_ & ~list.mask_) != 0) {
    return std::unexpected(
        fmt::format("\"{}\" has bits set after its prefix", base::escaped(range)));
  }
  return list;
}

std::optional<dns::Question> BlockList::about(std::string_view turned) const {
  const auto name = dns::Name::parse(fmt::format("{}{}", turned, zone_));
  if (!name) return std::nullopt;
  return dns::Question{*name, dns::Type::kA};
}

std::optional<dns::Question> BlockList::question(const base::IpAddress& client) const {
  return about(turned_round(client));
}

// RFC 5782 5; in IPv6 it is ::FFFF:7F00:1.
std::optional<dns::Question> BlockList::control_question(const base::IpAddress& client) const {
  return about(client.is_v4() ? "1.0.0.127."
                              : "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.");
}

BlockList::Reading BlockList::read(const dns::Answer& answer) const {
  if (answer.is_void()) return Reading::kNotListed;
  if (answer.is_failure() || answer.addresses.empty()) return Reading::kNoUse;
  Reading reading = Reading::kNotListed;
  for (const base::IpAddress& address : answer.addresses) {
    const bool of_a_list = is_in(address, 0x7F000000, 8) && !is_in(address, 0x7FFFFF00, 24) &&
                           !is_in(address, 0x7F000001, 32);
    if (!of_a_list) return Reading::kNoUse;
    if ((number_of(address) & mask_) == network_) reading = Reading::kListed;
  }
  return reading;
}

std::vector<BlockList> parse_block_lists(const std::vector<std::string>& entries) {
  std::vector<BlockList> lists;
  for (const std::string& entry : entries) {
    if (auto list = BlockList::parse(entry)) lists.push_back(*std::move(list));
  }
  return lists;
}

bool is_asked_about(const base::IpAddress& client) {
  if (client.is_loopback()) return false;
  const auto& bytes = client.bytes();
  if (!client.is_v4()) {
    // RFC 4193 unique local, RFC 4291 link-local.
    return (bytes[0] & 0xFE) != 0xFC && !(bytes[0] == 0xFE && (bytes[1] & 0xC0) == 0x80);
  }
  struct Network {
    std::uint32_t network;
    unsigned length;
  };
  // RFC 1918, 3927, 6598.
  for (const Network& each :
       {Network{0x0A000000, 8}, Network{0xAC100000, 12}, Network{0xC0A80000, 16},
        Network{0xA9FE0000, 16}, Network{0x64400000, 10}}) {
    if (is_in(client, each.network, each.length)) return false;
  }
  return true;
}

}  // namespace mxring::server
