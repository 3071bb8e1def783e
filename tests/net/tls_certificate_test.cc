#include "net/tls_certificate.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/net/tls_pair.h"
#include "tests/support/temp_dir.h"

namespace mxring::net {
namespace {

constexpr std::int64_t kDayUs = 86'400LL * 1'000'000;

TEST(TlsCertificate, SelfSignedHasItsNameAndTenYears) {
  const TlsCertificate made = certificate_for("MX.Example.org");
  ASSERT_EQ(made.names.size(), 1U);
  EXPECT_EQ(made.names[0], "mx.example.org");
  EXPECT_EQ(made.key, CertificateKey::kP256);
  const base::WallTime now = base::read_clocks().wall;
  EXPECT_LE(made.not_before_s, now.us / 1'000'000);
  EXPECT_GT(made.not_after_s - made.not_before_s, 3640LL * 86'400);
  EXPECT_EQ(validity_warning(made, now), "");
  EXPECT_NE(made.key_pem, certificate_for("mx.example.org").key_pem);
}

TEST(TlsCertificate, SelfSignedWithRsa) {
  const auto made = make_certificate("mx.example.org", CertificateKey::kRsa);
  ASSERT_TRUE(made.has_value()) << made.error().message;
  EXPECT_EQ(made->key, CertificateKey::kRsa);
  EXPECT_EQ(made->names, std::vector<std::string>{"mx.example.org"});
  TlsPair pair(*client_for(), *server_with({*made}));
  EXPECT_TRUE(pair.open);
  EXPECT_EQ(TlsPair::carry(*pair.client, *pair.server, pair, "EHLO a\r\n"), "EHLO a\r\n");
}

TEST(TlsCertificate, AnyHostNameWillDo) {
  for (const std::string& name : {std::string("a"), std::string(63, 'a') + ".example",
                                  std::string(63, 'a') + "." + std::string(63, 'b') + "." +
                                      std::string(63, 'c') + ".example"}) {
    const TlsCertificate made = certificate_for(name);
    EXPECT_FALSE(made.names.empty()) << name;
    EXPECT_NE(server_with({made}), nullptr);
  }
}

TEST(TlsCertificate, WarningsAboutTime) {
  TlsCertificate made = certificate_for("mx.example");
  const auto at = [&](std::int64_t unix_s) { return validity_warning(made, {unix_s * 1'000'000}); };
  EXPECT_NE(at(made.not_after_s).find("expired on"), std::string::npos);
  EXPECT_NE(at(made.not_after_s - 13 * 86'400).find("expires on"), std::string::npos);
  EXPECT_EQ(at(made.not_after_s - 15 * 86'400), "");
  EXPECT_NE(at(made.not_before_s - 10).find("not valid before"), std::string::npos);
  EXPECT_EQ(validity_warning(made, {made.not_before_s * 1'000'000 + kDayUs}), "");
}

TEST(TlsCertificate, WhatANameCovers) {
  EXPECT_TRUE(covers("mx.example", "mx.example"));
  EXPECT_FALSE(covers("mx.example", "x.mx.example"));
  EXPECT_TRUE(covers("*.example.org", "mx.example.org"));
  EXPECT_FALSE(covers("*.example.org", "a.mx.example.org"));
  EXPECT_FALSE(covers("*.example.org", "example.org"));
  EXPECT_FALSE(covers("*.example.org", ".example.org"));
  EXPECT_FALSE(covers("*", "example"));
  EXPECT_FALSE(covers("m*.example.org", "mx.example.org"));
}

TEST(TlsCertificate, AKeyThatBelongsToAnother) {
  const TlsCertificate one = certificate_for("one.example");
  TlsCertificate mixed = one;
  mixed.key_pem = certificate_for("one.example").key_pem;
  EXPECT_TRUE(ecdsa_key_matches(one));
  EXPECT_FALSE(ecdsa_key_matches(mixed));
  const auto refused = TlsServer::load({.certificates = {mixed}, .tls12 = true, .ticket_keys = {}});
  ASSERT_FALSE(refused.has_value());
  EXPECT_TRUE(refused.error().message.starts_with(
      "self-signed: the private key belongs to another certificate"))
      << refused.error().message;
}

TEST(TlsCertificate, FilesThatAreNone) {
  const test::TempDir dir;
  const TlsCertificate good = certificate_for("mx.example");
  const auto write = [&](const char* name, const std::string& text) {
    const std::string path = dir.path() / name;
    std::ofstream(path) << text;
    return path;
  };
  const std::string certificate = write("c.pem", good.chain_pem);
  const std::string key = write("k.pem", good.key_pem);
  const std::string both = write("both.pem", good.chain_pem + good.key_pem);
  EXPECT_TRUE(read_certificate(certificate, key).has_value());
  EXPECT_TRUE(read_certificate(both, both).has_value());
  const auto message = [](const std::string& c, const std::string& k) {
    const auto read = read_certificate(c, k);
    return read.has_value() ? std::string("(none)") : read.error().message;
  };
  EXPECT_NE(message("/nowhere/c.pem", key)
                .find("tls.certificate: /nowhere/c.pem cannot be read: "
                      "No such file"),
            std::string::npos);
  EXPECT_NE(message(certificate, "/").find("cannot be read"), std::string::npos);
  EXPECT_NE(message(key, key).find("no certificate in it"), std::string::npos);
  EXPECT_NE(message(certificate, certificate).find("no private key in it"), std::string::npos);
  EXPECT_NE(message(write("big", std::string(2'000'000, 'x')), key).find("no PEM file"),
            std::string::npos);
  // Every cut of the certificate is refused or is the whole of it; none is a crash.
  for (std::size_t size = 0; size < good.chain_pem.size(); size += 7) {
    TlsCertificate cut = good;
    cut.chain_pem.resize(size);
    if (!inspect(cut).has_value()) continue;
    EXPECT_GT(size, good.chain_pem.size() - 40);
  }
}

}  // namespace
}  // namespace mxring::net
