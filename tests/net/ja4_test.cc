// JA4 fingerprints: the example of the method's publication, its rules for what is left out, and
// what a hello may not make expensive.
#include "net/ja4.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::net {
namespace {

std::string numbers(const std::vector<std::uint16_t>& values) {
  std::string out;
  for (const std::uint16_t value : values) {
    out += static_cast<char>(value >> 8);
    out += static_cast<char>(value & 0xFF);
  }
  return out;
}

// The hello of the published example: Chrome to a web server, GREASE and all, in its own order.
struct Hello {
  std::uint16_t version = 0x0303;
  std::vector<std::uint16_t> suites{0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030,
                                    0xCCA9, 0xCCA8, 0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035};
  std::vector<std::uint16_t> types{0x1A1A, 0x001B, 0x0000, 0x0033, 0x0010, 0x4469,
                                   0x0017, 0x002D, 0x000D, 0x0005, 0x0023, 0x0012,
                                   0x002B, 0xFF01, 0x000B, 0x000A, 0x0015, 0xFAFA};
  std::vector<std::uint16_t> versions{0xEAEA, 0x0304, 0x0303};
  std::vector<std::uint16_t> algorithms{0x0403, 0x0804, 0x0401, 0x0503,
                                        0x0805, 0x0501, 0x0806, 0x0601};
  std::string protocol = "h2";

  std::string print() const {
    const std::string suite_bytes = numbers(suites);
    const std::string version_bytes = numbers(versions);
    const std::string algorithm_bytes = numbers(algorithms);
    return std::string(ja4({.version = version,
                            .suites = suite_bytes,
                            .versions = version_bytes,
                            .algorithms = algorithm_bytes,
                            .protocol = protocol,
                            .types = types})
                           .view());
  }
};

TEST(Ja4, ThePublishedExample) {
  EXPECT_EQ(Hello{}.print(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

TEST(Ja4, OrderAndGreaseDoNotMatterButThatOfAlgorithmsDoes) {
  Hello hello;
  std::ranges::reverse(hello.suites);
  std::ranges::reverse(hello.types);
  std::ranges::reverse(hello.versions);
  for (std::uint16_t grease = 0x0A0A; grease != 0xFAFA;
       grease = static_cast<std::uint16_t>(grease + 0x1010)) {
    hello.suites.push_back(grease);
    hello.algorithms.push_back(grease);
    hello.versions.push_back(grease);
  }
  EXPECT_EQ(hello.print(), Hello{}.print());
  std::swap(hello.algorithms[0], hello.algorithms[1]);
  EXPECT_EQ(hello.print().substr(0, 23), Hello{}.print().substr(0, 23));
  EXPECT_NE(hello.print(), Hello{}.print());
}

TEST(Ja4, WhatLooksLikeGreaseAndIsNot) {
  for (const int value : {0x0A1A, 0x1A0A, 0x0B0B, 0xAAAB, 0x00AA}) {
    Hello hello;
    hello.suites.push_back(static_cast<std::uint16_t>(value));
    EXPECT_EQ(hello.print().substr(0, 6), "t13d16") << value;
  }
}

TEST(Ja4, VersionNameAndProtocol) {
  Hello hello;
  hello.versions.clear();
  EXPECT_EQ(hello.print().substr(0, 4), "t12d");
  for (const auto& [version, text] :
       {std::pair{0x0304, "t13"}, std::pair{0x0302, "t11"}, std::pair{0x0301, "t10"},
        std::pair{0x0300, "ts3"}, std::pair{0x0002, "ts2"}, std::pair{0x7F1C, "t00"}}) {
    hello.version = static_cast<std::uint16_t>(version);
    EXPECT_EQ(hello.print().substr(0, 3), text);
  }
  // The name is an extension, counted but not hashed; so is the protocol.
  Hello nameless;
  std::erase(nameless.types, 0x0000);
  EXPECT_EQ(nameless.print(), "t13i1515h2_8daaf6152771_e5627efa2ab1");
  std::erase(nameless.types, 0x0010);
  nameless.protocol.clear();
  EXPECT_EQ(nameless.print(), "t13i151400_8daaf6152771_e5627efa2ab1");
  for (const auto& [protocol, text] :
       {std::pair{std::string("http/1.1"), "h1"}, std::pair{std::string("x"), "xx"},
        std::pair{std::string("\xAB"), "ab"}, std::pair{std::string("\xAB\xCD"), "ad"},
        std::pair{std::string("\x30\xAB"), "3b"}, std::pair{std::string("\x30\x31\xAB\xCD"), "3d"},
        std::pair{std::string("\x30\xAB\xCD\x31"), "01"}}) {
    hello.protocol = protocol;
    EXPECT_EQ(hello.print().substr(8, 2), text) << protocol;
  }
}

TEST(Ja4, NothingOfAKind) {
  Hello hello;
  hello.suites = {0x0A0A};
  EXPECT_EQ(hello.print(), "t13d0016h2_000000000000_e5627efa2ab1");
  hello.types = {0x0000, 0x0010};
  EXPECT_EQ(hello.print(), "t13d0002h2_000000000000_000000000000");
  hello.types = {0x0010, 0x2A2A};
  EXPECT_EQ(hello.print(), "t13i0001h2_000000000000_000000000000");
  Hello no_algorithms;
  no_algorithms.algorithms.clear();
  // Without an underscore after the extensions.
  EXPECT_EQ(no_algorithms.print(), "t13d1516h2_8daaf6152771_6d807ffa2a79");
}

TEST(Ja4, MoreThanAnybodyHasIsCountedAsNinetyNineOrNotAtAll) {
  Hello hello;
  hello.suites.clear();
  for (std::uint16_t suite = 0xC000; hello.suites.size() < kJa4ListMax; ++suite) {
    hello.suites.push_back(suite);
  }
  EXPECT_EQ(hello.print().substr(0, 10), "t13d9916h2");
  hello.suites.push_back(0x3A3A);
  EXPECT_EQ(hello.print().size(), Ja4::kBytes);
  hello.suites.push_back(0x0001);
  EXPECT_EQ(hello.print(), "");
  Hello algorithms;
  algorithms.algorithms.assign(kJa4ListMax + 1, 0x0403);
  EXPECT_EQ(algorithms.print(), "");
}

}  // namespace
}  // namespace mxring::net
