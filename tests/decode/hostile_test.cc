// Messages made to be expensive: each under 0.1 s of CPU and 32 MiB, and it says which budget ended
// it. Memory is what the allocator had to provide beyond the message itself.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <new>

#include "decode/decode.h"
#include "decode/facts_json.h"
#include "tests/decode/messages.h"

#if defined(__SANITIZE_ADDRESS__)
#define MXRING_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MXRING_SANITIZED 1
#endif
#endif

#ifndef MXRING_SANITIZED
namespace {
std::atomic<std::size_t> g_held{0};
std::atomic<std::size_t> g_most{0};

void* counted(std::size_t bytes) {
  void* at = std::malloc(bytes);
  if (at == nullptr) std::abort();
  const std::size_t now = g_held += malloc_usable_size(at);
  if (now > g_most) g_most = now;
  return at;
}
void released(void* at) {
  if (at != nullptr) g_held -= malloc_usable_size(at);
  std::free(at);
}
}  // namespace

void* operator new(std::size_t bytes) {
  return counted(bytes);
}
void operator delete(void* at) noexcept {
  released(at);
}
void operator delete(void* at, std::size_t) noexcept {
  released(at);
}
#endif

namespace mxring::decode {
namespace {

constexpr std::size_t kBytesMax = std::size_t{32} * 1024 * 1024;
#if defined(MXRING_SANITIZED)
constexpr double kSecondsMax = 4;
constexpr int kRounds = 1;
#elif defined(NDEBUG)
constexpr double kSecondsMax = 0.1;
constexpr int kRounds = 3;
#else
constexpr double kSecondsMax = 1.5;  // without optimisation
constexpr int kRounds = 1;
#endif

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

// The kind it is, and the limits it hit, "bounce depth parts".
std::string check(const char* what, const std::string& message) {
  std::string limits;
  double least = 1e9;
  std::size_t most = 0;
  for (int round = 0; round < kRounds; ++round) {
#ifndef MXRING_SANITIZED
    const std::size_t before = g_held;
    g_most = before;
#endif
    const double started = cpu_seconds();
    const Facts facts = decode(message);
    least = std::min(least, cpu_seconds() - started);
#ifndef MXRING_SANITIZED
    most = std::max<std::size_t>(most, g_most - before);
#endif
    limits = word(facts.kind);
    for (const Text& limit : facts.limits) limits.append(" ").append(limit);
  }
  EXPECT_LT(least, kSecondsMax) << what;
  EXPECT_LT(most, kBytesMax) << what;
  std::printf("%-44s %7.1f MB in %6.1f ms, %5.1f MiB: %s\n", what,
              static_cast<double>(message.size()) / 1e6, least * 1e3,
              static_cast<double>(most) / 1048576.0, limits.c_str());
  return limits;
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) out += text;
  return out;
}

const std::string kMixed = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";

TEST(Hostile, TwentyThousandLevels) {
  std::string same, own, messages;
  for (int i = 0; i < 20'000; ++i) {
    const std::string boundary = "b" + std::to_string(i);
    own += "Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n";
    same += kMixed + "--b\r\n";
    messages += "Content-Type: message/rfc822\r\n\r\n";
  }
  EXPECT_EQ(check("20,000 levels", own), "mail depth");
  check("20,000 levels of the same boundary", same);
  EXPECT_EQ(check("20,000 messages in messages", messages), "mail depth");
}

TEST(Hostile, FiveHundredThousandParts) {
  EXPECT_EQ(check("500,000 empty parts", kMixed + repeated("--b\r\n", 500'000)), "mail parts");
  EXPECT_EQ(check("500,000 parts with a header", kMixed + repeated("--b\r\nA: b\r\n\r\n", 500'000)),
            "mail parts");
}

TEST(Hostile, BoundaryFloods) {
  std::string deep;
  const std::string filler(60, 'x');
  for (int i = 0; i < 32; ++i) {
    const std::string boundary = filler + static_cast<char>('a' + i % 26) + std::to_string(10 + i);
    deep +=
        "Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\n--" + boundary + "\r\n";
  }
  check("lines that are nearly boundaries of 32 levels",
        deep + "\r\n" + repeated("--" + filler + "A10\r\n", 150'000));
  check("lines of two dashes", deep + "\r\n" + repeated("--\r\n", 2'500'000));
  check("closing delimiters", kMixed + repeated("--b--\r\n", 1'400'000));
  check("a boundary of 15 KB",
        "Content-Type: multipart/mixed; boundary=" + std::string(15'000, 'x') + "\r\n\r\n" +
            repeated("--" + std::string(14'999, 'x') + "\r\n", 650));
}

TEST(Hostile, HeadersOfTenMegabytes) {
  check("a field of 10 MB", "Subject: " + std::string(10'000'000, 'x') + "\r\n\r\nbody");
  check("a million fields", repeated("Subject: x\r\n", 850'000) + "\r\nbody");
  check("10 MB of folding", "Subject: x\r\n" + repeated(" x\r\n", 2'500'000) + "\r\n");
  check("encoded words", "Subject: " + repeated("=?utf-8?q?=41?= ", 600'000) + "\r\n\r\n");
  check("open encoded words", "Subject: " + repeated("=?utf-8?q?", 1'000'000) + "\r\n\r\n");
  check("brackets and comments",
        "From: " + repeated("((<", 40'000) + "\r\nTo: " + repeated("a@b,", 30'000) + "\r\n\r\n");
  check("parameters", "Content-Type: a/b" + repeated("; n*1*=%41", 1'000'000) + "\r\n\r\n");
  check("references", "References: " + repeated("<a@b> ", 20'000) + "\r\n\r\n");
}

TEST(Hostile, ArchiveBombs) {
  const std::string zeros(std::size_t{1} << 27, '\0');
  const std::string bomb = gzip(zeros);
  const std::string spaces = gzip("<feedback>" + std::string(std::size_t{1} << 27, ' '));
  EXPECT_EQ(check("gzip of 128 MiB of nothing", report_mail("application/gzip", "a.gz", bomb)),
            "mail");
  const std::string zip = zip_entry({zeros});
  EXPECT_EQ(check("zip of 128 MiB of nothing", report_mail("application/zip", "a.zip", zip + zip)),
            "mail ratio");
  EXPECT_EQ(
      check("gzip of XML and 128 MiB of blanks", report_mail("application/gzip", "a.gz", spaces)),
      "dmarc_report ratio");
  std::string many = kMixed;
  const std::string one = report_mail("application/gzip", "a.gz", spaces.substr(0, 5'000));
  const std::size_t part = one.find("--b\r\nContent-Type: application");
  for (int i = 0; i < 900; ++i) many += one.substr(part, one.rfind("--b--") - part);
  check("900 gzip files", many);
}

TEST(Hostile, XmlBombs) {
  std::string laughs = "<?xml version='1.0'?><!DOCTYPE feedback [<!ENTITY a 'ha'>";
  for (char c = 'b'; c <= 'z'; ++c) {
    laughs += std::string("<!ENTITY ") + c + " '" +
              repeated(std::string("&") + char(c - 1) + ";", 10) + "'>";
  }
  EXPECT_EQ(check("a billion laughs",
                  report_mail("text/xml", "a.xml", laughs + "]><feedback>&z;</feedback>")),
            "mail");
  check("two million entities",
        report_mail("text/xml", "a.xml", "<feedback><version>" + repeated("&a;", 2'000'000)));
  EXPECT_EQ(check("a million levels of XML",
                  report_mail("text/xml", "a.xml", "<feedback>" + repeated("<a>", 1'000'000))),
            "dmarc_report xml_depth");
  EXPECT_EQ(check("empty records",
                  report_mail("text/xml", "a.xml", "<feedback>" + repeated("<record/>", 700'000))),
            "dmarc_report rows");
  check("a tag that does not end",
        report_mail("text/xml", "a.xml", "<feedback " + repeated("a=';' ", 1'000'000)));
  check("results in one record",
        report_mail("text/xml", "a.xml",
                    "<feedback><record><auth_results>" + repeated("<dkim/>", 900'000)));
  check("a text of 7 MB",
        report_mail("text/xml", "a.xml", "<feedback><version>" + std::string(7'000'000, 'x')));
  std::string rows = "<feedback>";
  for (int i = 0; i < 100'000; ++i) {
    rows += "<record><row><source_ip>" + std::to_string(i * 7919) + "</source_ip></row></record>";
  }
  check("100,000 rows of different texts", report_mail("text/xml", "a.xml", rows));
}

TEST(Hostile, Base64OfNothing) {
  const std::string head = "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n";
  check("base64 of line ends", head + repeated("\r\n", 5'000'000));
  check("base64 of pads", head + std::string(10'000'000, '='));
  check("base64 of foreign bytes", head + std::string(10'000'000, '!'));
  check("quoted-printable of =",
        "Content-Type: text/plain\r\nContent-Transfer-Encoding: "
        "quoted-printable\r\n\r\n" +
            std::string(5'000'000, '='));
  check("10 MB of text",
        "Content-Type: text/plain\r\n\r\n" + repeated("text of a line\r\n", 625'000));
  check("10 MB of bytes that are no UTF-8",
        "Content-Type: text/plain; charset=utf-8\r\n\r\n" + std::string(10'000'000, '\xFF'));
  check("10 MB of windows-1252 that is none",
        "Content-Type: text/plain; charset=windows-1252\r\n\r\n" + std::string(5'000'000, '\x81'));
}

TEST(Hostile, ReportsOfFields) {
  EXPECT_EQ(check("a million recipients", bounce_message(repeated("\nStatus: 5.1.1\n", 700'000))),
            "bounce recipients");
  check("empty lines", bounce_message(repeated("\n", 5'000'000)));
  check("lines that are no fields", bounce_message(repeated("no field\n", 1'000'000)));
  check("a million fields of one recipient",
        bounce_message("\nStatus: 5\n" + repeated("X: y\n", 1'000'000)));
  check("a feedback report of 10 MB",
        crlf("Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: "
             "message/feedback-report\n\n" +
             repeated("Reported-URI: x\n", 600'000)));
  check("TLS report of brackets", "{\"a\":" + std::string(7'000'000, '['));
  check("TLS report of escapes",
        "{\"report-id\":\"x\",\"policies\":[],\"a\":\"" + repeated("\\u0041", 1'200'000) + "\"}");
  std::string journal =
      "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSender: a@b\nMessage-ID: <x>\n";
  journal += repeated("To: a@b, Expanded: c@d\n", 400'000);
  check("journal of 400,000 recipients",
        crlf(journal + "--b\nContent-Type: message/rfc822\n\nSubject: x\n"));
  check(
      "one line of a journal",
      crlf(
          "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nSender: a@b\nMessage-ID: <x>\nTo: " +
          repeated("a, Expanded: b,", 600'000) + "\n--b\nContent-Type: message/rfc822\n\n"));
}

}  // namespace
}  // namespace mxring::decode
