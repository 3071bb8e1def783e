// Questions: what does it cost to parse one command line, to find the end of data and unstuff dots
// in one message, and to index one header section?
// Inputs: the lines a large sender pipelines; 16 different messages of 1, 10 and 100 KiB in turn,
// in lines of 20 to 76 letters; the same with every line stuffed; a plain byte-at-a-time scan of
// the same 10 KiB for comparison; a header section of 22 fields as a large provider writes them
// (2.5 KiB). Unit: nanoseconds per line, message or header section; bytes per second where bytes
// are walked. All inputs lie in the first or second level cache, but for 100 KiB (1.6 MiB); one
// thread.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>
#include <vector>

#include "mail/header_index.h"
#include "mail/mailbox.h"
#include "smtp/command.h"
#include "smtp/command_table.h"
#include "smtp/data_scanner.h"
#include "smtp/session.h"

namespace {

using mxring::smtp::DataScanner;

// Line lengths follow `seed`: one message after the other must not look alike to a branch
// predictor, which learns all lines of a message that it sees again and again.
std::string message(std::size_t bytes, bool dots, std::size_t seed = 0) {
  std::string text;
  std::size_t line = seed * 7919;
  while (text.size() < bytes) {
    if (dots) text += "..";
    for (std::size_t i = 0; i < 20 + line * line % 57; ++i) {
      text += static_cast<char>('a' + (i * 7 + line) % 26);
    }
    text += "\r\n";
    ++line;
  }
  return text + ".\r\n";
}

constexpr std::size_t kMessages = 16;

std::size_t unstuff(DataScanner& scanner, std::string_view input) {
  std::size_t runs = 0;
  scanner.reset();
  for (;;) {
    const DataScanner::Output output = scanner.next(input);
    if (output.kind != DataScanner::Output::Kind::kRun) break;
    ++runs;
    input.remove_prefix(output.consumed);
  }
  return runs;
}

void bm_unstuff(benchmark::State& state, bool dots) {
  std::vector<std::string> messages;
  for (std::size_t i = 0; i < kMessages; ++i) {
    messages.push_back(message(static_cast<std::size_t>(state.range(0)) * 1024, dots, i));
  }
  DataScanner scanner(998, 64 * 1024);
  std::size_t next = 0;
  std::size_t bytes = 0;
  for (auto _ : state) {
    const std::string& text = messages[next++ % kMessages];
    benchmark::DoNotOptimize(unstuff(scanner, text));
    bytes += text.size();
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK_CAPTURE(bm_unstuff, ordinary, false)->Arg(1)->Arg(10)->Arg(100);
BENCHMARK_CAPTURE(bm_unstuff, every_line_stuffed, true)->Arg(1)->Arg(10)->Arg(100);

// The comparison: end of data alone, one byte after the other, nothing else looked at.
void bm_end_of_data_bytewise(benchmark::State& state) {
  const std::string text = message(10 * 1024, false);
  for (auto _ : state) {
    unsigned matched = 2;  // of CR LF . CR LF
    std::size_t at = 0;
    for (; at < text.size() && matched < 5; ++at) {
      constexpr std::string_view kEnd = "\r\n.\r\n";
      matched = text[at] == kEnd[matched] ? matched + 1 : text[at] == '\r' ? 1 : 0;
    }
    benchmark::DoNotOptimize(at);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
}
BENCHMARK(bm_end_of_data_bytewise);

void bm_command(benchmark::State& state, std::string_view line) {
  const mxring::smtp::Extensions extensions{.esmtp = true, .smtputf8 = false, .leniency = {}};
  for (auto _ : state) {
    benchmark::DoNotOptimize(line);
    const auto command = mxring::smtp::parse_command(line);
    if (command.row.verb == "MAIL") {
      benchmark::DoNotOptimize(mxring::smtp::parse_mail(command.arguments, extensions));
    } else if (command.row.verb == "RCPT") {
      benchmark::DoNotOptimize(mxring::smtp::parse_rcpt(command.arguments, extensions));
    } else {
      benchmark::DoNotOptimize(command);
    }
  }
}
BENCHMARK_CAPTURE(bm_command, mail,
                  "MAIL FROM:<bounce-4711-user=example.org@news.example.com> SIZE=10240 "
                  "BODY=8BITMIME");
BENCHMARK_CAPTURE(bm_command, rcpt, "RCPT TO:<someone.longer@mail.example.org>");
BENCHMARK_CAPTURE(bm_command, data, "DATA");

// A whole transaction on a kept-alive session: MAIL, RCPT, DATA, a 10 KiB message in one input.
void bm_transaction(benchmark::State& state) {
  using namespace mxring::smtp;
  const SessionOptions options{.hostname = "mx.example.org", .limits = {}, .leniency = {}};
  SessionOptions unlimited = options;
  unlimited.limits.messages_per_connection = UINT32_MAX;
  Session session(unlimited);
  const std::string text = message(10 * 1024, false);
  const auto play = [&](std::string_view bytes) {
    char memory[2 * kReplyBytesMax];
    ReplyBuffer out(memory);
    for (;;) {
      const Step step = session.step({bytes, false}, out);
      bytes.remove_prefix(step.consumed);
      switch (step.event) {
        case Event::kMail:
        case Event::kRecipient:
        case Event::kData:
          session.accept(out);
          break;
        case Event::kMessage:
          session.finish(replies::kAccepted, out);
          break;
        case Event::kNeedInput:
          return;
        default:
          break;
      }
    }
  };
  play("EHLO client.example.net\r\n");
  for (auto _ : state) {
    play("MAIL FROM:<a@example.com>\r\n");
    play("RCPT TO:<b@example.org>\r\n");
    play("DATA\r\n");
    play(text);
  }
}
BENCHMARK(bm_transaction);

std::string header_section() {
  std::string text;
  for (int i = 0; i < 4; ++i) {
    text +=
        "Received: from mail-out.example.com (mail-out.example.com [192.0.2.17])\r\n"
        "\tby mx.example.org with ESMTPS id 4711abcdef\r\n"
        "\tfor <someone@example.org>; Sun, 22 Nov 2026 01:02:03 +0000\r\n";
  }
  text +=
      "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=s1;\r\n"
      "        t=1795309323; h=from:to:subject:date:message-id:mime-version;\r\n"
      "        bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;\r\n        b=";
  text += std::string(344, 'A') + "\r\n";
  for (int i = 0; i < 8; ++i) {
    text += "X-Provider-Field-" + std::to_string(i) + ": " + std::string(60, 'x') + "\r\n";
  }
  text +=
      "MIME-Version: 1.0\r\nFrom: \"A. Sender\" <sender@example.com>\r\n"
      "To: someone@example.org\r\nDate: Sun, 22 Nov 2026 01:02:03 +0000\r\n"
      "Message-ID: <4711@example.com>\r\nSubject: An ordinary message\r\n"
      "Content-Type: text/plain; charset=\"UTF-8\"\r\nContent-Transfer-Encoding: 8bit\r\n"
      "List-Id: <news.example.com>\r\n\r\n";
  return text;
}

void bm_header_index(benchmark::State& state) {
  const std::string text = header_section();
  mxring::mail::HeaderIndex index(128 * 1024, 1000);
  for (auto _ : state) {
    index.reset();
    benchmark::DoNotOptimize(index.feed(text));
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * text.size()));
  state.counters["fields"] = static_cast<double>(index.fields().size());
}
BENCHMARK(bm_header_index);

void bm_single_mailbox(benchmark::State& state) {
  constexpr std::string_view kValue = " \"A. Sender\" <sender@example.com>\r\n";
  for (auto _ : state) benchmark::DoNotOptimize(mxring::mail::parse_single_mailbox(kValue));
}
BENCHMARK(bm_single_mailbox);

}  // namespace
