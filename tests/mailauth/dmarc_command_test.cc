// `mxring dmarc` as a process of its own against a DNS server on loopback.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "tests/dns/test_dns_server.h"

namespace mxring::test {
namespace {

struct Finished {
  int exit_code = -1;
  std::string out;
};

// The arguments are ours: nothing in them needs quoting.
Finished run(const std::string& arguments) {
  Finished result;
  std::FILE* pipe = ::popen((std::string(MXRING_PROGRAM) + " dmarc " + arguments).c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  for (std::size_t got; (got = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    result.out.append(buffer, got);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status)) result.exit_code = WEXITSTATUS(status);
  return result;
}

bool has(const Finished& finished, const std::string& text) {
  return finished.out.find(text) != std::string::npos;
}

constexpr const char* kZone = R"(
_dmarc.example.com TXT "v=DMARC1; p=reject; sp=quarantine; np=none"
there.example.com A 192.0.2.1
_dmarc.broken.example TXT "v=DMARC1; p=bob"
_dmarc.slow.example ! servfail
_dmarc.xn--bcher-kva.example TXT "v=DMARC1; p=none"
)";

TEST(DmarcCommandTest, ShowsTheWalkAndTheOutcome) {
  TestDnsServer server{Zone::parse(kZone)};
  const std::string resolver = " --timeout 500ms --resolver " + server.address();
  const Finished json =
      run("--json --from there.example.com --spf-pass mail.example.com" + resolver);
  EXPECT_EQ(json.exit_code, 0);
  for (const std::string text :
       {"\"status\":\"found\"", "\"record\":\"v=DMARC1; p=reject; sp=quarantine; np=none\"",
        "\"record_domain\":\"example.com\"", "\"organizational_domain\":\"example.com\"",
        "\"policy\":\"quarantine\"", "\"subdomain_policy\":\"quarantine\"", "\"np\":\"none\"",
        "\"result\":\"pass\"", "\"disposition\":\"accept\"", "\"aligned_spf\":\"mail.example.com\"",
        "\"aligned_dkim\":\"\"", "\"name\":\"_dmarc.there.example.com\""}) {
    EXPECT_TRUE(has(json, text)) << text << "\n" << json.out;
  }
  const Finished text = run("--from there.example.com --dkim-pass evil.example" + resolver);
  EXPECT_EQ(text.exit_code, 0);
  for (const std::string line :
       {"walk from there.example.com\n  1. _dmarc.there.example.com  (no-such-name)",
        "  2. _dmarc.example.com  (answer)\n     v=DMARC1; p=reject; sp=quarantine; np=none",
        "the From domain exists: sp applies", "result                 fail",
        "disposition            quarantine"}) {
    EXPECT_TRUE(has(text, line)) << line << "\n" << text.out;
  }
}

TEST(DmarcCommandTest, EveryDispositionAndEveryStatus) {
  TestDnsServer server{Zone::parse(kZone)};
  const std::string resolver = " --json --timeout 500ms --resolver " + server.address();
  struct Row {
    std::string arguments;
    std::string status;
    std::string result;
    std::string disposition;
  };
  for (const Row& row :
       {Row{"--from example.com", "found", "fail", "reject"},
        Row{"--from gone.example.com", "found", "fail", "accept"},
        Row{"--from example.com --dkim-pass x.example.com", "found", "pass", "accept"},
        Row{"--from example.com --dkim-pass example.net --spf-pass example.com", "found", "pass",
            "accept"},
        Row{"--from nothing.example", "none", "none", "accept"},
        Row{"--from broken.example", "unusable", "permerror", "accept"},
        Row{"--from slow.example", "temperror", "temperror", "accept"},
        Row{"--from user@b\xC3\xBC"
            "cher.example",
            "found", "fail", "accept"}}) {
    const Finished got = run(row.arguments + resolver);
    EXPECT_EQ(got.exit_code, 0);
    EXPECT_TRUE(has(got, "\"status\":\"" + row.status + "\"")) << row.arguments << got.out;
    EXPECT_TRUE(has(got, "\"result\":\"" + row.result + "\"")) << row.arguments << got.out;
    EXPECT_TRUE(has(got, "\"disposition\":\"" + row.disposition + "\"")) << row.arguments;
  }
}

TEST(DmarcCommandTest, WrongUsageIsTwo) {
  EXPECT_EQ(run("2>/dev/null").exit_code, 2);
  EXPECT_EQ(run("--from a..b 2>/dev/null").exit_code, 2);
  EXPECT_EQ(run("--from a.example --spf-pass ..  2>/dev/null").exit_code, 2);
}

}  // namespace
}  // namespace mxring::test
