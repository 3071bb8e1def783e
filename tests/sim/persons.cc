#include "tests/sim/persons.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <cstring>

namespace mxring::sim {

namespace {

sockaddr_storage address_of(const std::string& ip, std::uint16_t port) {
  sockaddr_storage storage{};
  if (ip.contains(':')) {
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port);
    ::inet_pton(AF_INET6, ip.c_str(), &in.sin6_addr);
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    ::inet_pton(AF_INET, ip.c_str(), &in.sin_addr);
  }
  return storage;
}

std::string in_bytes(const std::string& ip) {
  char bytes[16];
  const bool v6 = ip.contains(':');
  ::inet_pton(v6 ? AF_INET6 : AF_INET, ip.c_str(), bytes);
  return {bytes, v6 ? 16U : 4U};
}

std::string big_endian(std::uint64_t value) {
  return {static_cast<char>(value >> 8), static_cast<char>(value)};
}

std::string version_1(const std::string& ip) {
  const bool v6 = ip.contains(':');
  return fmt::format("PROXY {} {} {} 4711 25\r\n", v6 ? "TCP6" : "TCP4", ip,
                     v6 ? "2001:db8:ffff::1" : "192.0.2.250");
}

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string version_2(Dice& dice, const std::string& ip) {
  const bool v6 = ip.contains(':');
  std::string body = in_bytes(ip) + in_bytes(v6 ? "2001:db8:ffff::1" : "192.0.2.250") +
                     big_endian(4711) + big_endian(25);
  // Things that nobody has to know: type, length, value.
  for (std::uint64_t i = dice.below(3); i > 0; --i) {
    const std::uint64_t size = dice.below(200);
    body += '\xE0' + big_endian(size) + std::string(size, 'v');
  }
  return std::string(kSignature) + '\x21' + (v6 ? '\x21' : '\x11') + big_endian(body.size()) + body;
}

// Of itself, or of it does not know whom.
std::string nobody(Dice& dice) {
  if (dice.permille(500)) return "PROXY UNKNOWN\r\n";
  return std::string(kSignature) + '\x20' + '\0' + big_endian(0);
}

std::string broken(Dice& dice) {
  switch (dice.below(6)) {
    case 0:
      return "PROXY TCP4 192.0.2.300 192.0.2.250 4711 25\r\n";
    case 1:
      return "PROXY TCP6 192.0.2.3 192.0.2.250 4711 25\r\n";
    case 2:
      return "PROXY " + std::string(200, 'x') + "\r\n";
    case 3:
      return std::string(kSignature) + '\x31' + '\x11' + big_endian(12) + std::string(12, 'x');
    case 4:
      return std::string(kSignature) + '\x21' + '\x11' + big_endian(60'000);
    default:
      return "EHLO client.example\r\n";
  }
}

}  // namespace

Person draw_person(Dice& dice, std::uint64_t number) {
  Person person;
  const auto port = static_cast<std::uint16_t>(10'000 + number);
  const auto client = [&] {
    return dice.permille(800) ? fmt::format("192.0.2.{}", 1 + number % 40)
                              : fmt::format("2001:db8:0:{:x}::9", 1 + number % 40);
  };
  if (dice.permille(750)) {
    person.ip = client();
    person.address = address_of(person.ip, port);
    return person;
  }
  if (dice.permille(400)) {
    person.ip = fmt::format("203.0.113.{}", 1 + number % 3);
    person.address = address_of(person.ip, port);
    person.proxy = true;
    return person;
  }
  person.ip = fmt::format("198.51.100.{}", 1 + number % 3);
  person.address = address_of(person.ip, port);
  const std::uint64_t kind = dice.below(10);
  if (kind == 0) {
    person.refused = true;  // says nothing, and is not listened to
  } else if (kind == 1) {
    person.header = broken(dice);
    person.refused = true;
  } else if (kind == 2) {
    person.header = nobody(dice);
  } else {
    person.ip = client();
    person.header = dice.permille(500) ? version_1(person.ip) : version_2(dice, person.ip);
  }
  return person;
}

}  // namespace mxring::sim
