// Question: what does a message cost as typed facts? Input: the 628 bounces of the corpus (4.5 KB
// on average; our own sample without it), a plain mail of 10 KiB with an attachment, a DMARC report
// of 100,000 rows as XML and gzipped. Unit: microseconds of one core a message, MB of XML a second,
// and allocations. Compared in one run, where they are installed: gmime and mimetic on the bounces,
// expat on the XML; Python's email is decode_cost.py's.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "decode/decode.h"
#include "decode/facts_json.h"
#include "decode/xml_reader.h"
#include "tests/decode/messages.h"
#ifdef BENCH_EXPAT
#include <expat.h>
#endif
#ifdef BENCH_GMIME
#include <gmime/gmime.h>
#endif
#ifdef BENCH_MIMETIC
#include <mimetic/mimetic.h>
#endif

namespace {

using namespace mxring::decode;

std::string crlf_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  return text.find("\r\n") == std::string::npos ? crlf(text) : text;
}

const std::vector<std::string>& bounces() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> found;
    const std::filesystem::path folder = MXRING_CORPORA "/bounce-sisimai/bsd";
    if (std::filesystem::is_directory(folder)) {
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        found.push_back(crlf_of(entry.path()));
      }
    }
    if (found.empty()) found.push_back(crlf_of(MXRING_SAMPLES "/bounce.eml"));
    return found;
  }();
  return all;
}

// One message an iteration, each in its turn.
template <class Work>
void each_bounce(benchmark::State& state, Work work) {
  const std::vector<std::string>& all = bounces();
  std::size_t at = 0;
  std::int64_t bytes = 0;
  for (auto _ : state) {
    work(all[at]);
    bytes += static_cast<std::int64_t>(all[at].size());
    at = at + 1 < all.size() ? at + 1 : 0;
  }
  state.SetBytesProcessed(bytes);
  state.counters["messages"] = static_cast<double>(all.size());
}

void bounce_facts(benchmark::State& state) {
  Decoder decoder;
  Facts facts;
  each_bounce(state, [&](const std::string& message) {
    decoder.decode(message, {}, facts);
    benchmark::DoNotOptimize(facts.kind);
  });
}
BENCHMARK(bounce_facts);

void bounce_facts_and_json(benchmark::State& state) {
  Decoder decoder;
  Facts facts;
  mxring::base::JsonWriter json;
  each_bounce(state, [&](const std::string& message) {
    decoder.decode(message, {}, facts);
    json.clear();
    write_json(facts, json);
    benchmark::DoNotOptimize(json.text().data());
  });
}
BENCHMARK(bounce_facts_and_json);

// Without anything kept from message to message.
void bounce_facts_anew(benchmark::State& state) {
  each_bounce(state, [](const std::string& message) {
    const Facts facts = decode(message);
    benchmark::DoNotOptimize(facts.kind);
  });
}
BENCHMARK(bounce_facts_anew);

void bounce_walk(benchmark::State& state) {
  mxring::mail::MimeWalker walker;
  mxring::mail::CharsetDecoder charsets;
  each_bounce(state, [&](const std::string& message) {
    walker.walk(message, {}, charsets);
    benchmark::DoNotOptimize(walker.parts().size());
  });
}
BENCHMARK(bounce_walk);

#ifdef BENCH_GMIME
void count_part(GMimeObject*, GMimeObject* part, gpointer sum) {
  if (GMIME_IS_PART(part)) {
    GMimeDataWrapper* content = g_mime_part_get_content(GMIME_PART(part));
    if (content == nullptr) return;
    GMimeStream* out = g_mime_stream_null_new();
    *static_cast<gint64*>(sum) += g_mime_data_wrapper_write_to_stream(content, out);
    g_object_unref(out);
  }
}

// Parsed, and every part decoded.
void bounce_gmime(benchmark::State& state) {
  g_mime_init();
  each_bounce(state, [](const std::string& message) {
    GMimeStream* stream = g_mime_stream_mem_new_with_buffer(message.data(), message.size());
    GMimeParser* parser = g_mime_parser_new_with_stream(stream);
    GMimeMessage* parsed = g_mime_parser_construct_message(parser, nullptr);
    gint64 bytes = 0;
    if (parsed != nullptr) {
      g_mime_message_foreach(parsed, count_part, &bytes);
      benchmark::DoNotOptimize(g_mime_message_get_subject(parsed));
      g_object_unref(parsed);
    }
    benchmark::DoNotOptimize(bytes);
    g_object_unref(parser);
    g_object_unref(stream);
  });
}
BENCHMARK(bounce_gmime);
#endif

#ifdef BENCH_MIMETIC
// Parsed; it decodes nothing by itself.
void bounce_mimetic(benchmark::State& state) {
  each_bounce(state, [](const std::string& message) {
    mimetic::MimeEntity entity;
    entity.load(message.begin(), message.end());
    benchmark::DoNotOptimize(entity.body().parts().size());
  });
}
BENCHMARK(bounce_mimetic);
#endif

const std::string& plain_mail() {
  static const std::string mail = [] {
    std::string text =
        "From: =?utf-8?q?J=C3=BCrgen?= <a@example.org>\nTo: b@example.com\nSubject: hello\n"
        "Date: Thu, 5 Nov 2026 12:00:00 +0100\nMessage-ID: <1@example.org>\n"
        "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain; "
        "charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n";
    while (text.size() < 5'000) text += "A line of text, =C3=A4 and =3D, as mail has them.\n";
    text += "--b\nContent-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\n";
    while (text.size() < 10'000) text += std::string(76, 'Q') + "\n";
    return crlf(text + "--b--\n");
  }();
  return mail;
}

void plain_mail_10_kib(benchmark::State& state) {
  Decoder decoder;
  Facts facts;
  for (auto _ : state) {
    decoder.decode(plain_mail(), {}, facts);
    benchmark::DoNotOptimize(facts.message.text);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(plain_mail().size() * state.iterations()));
}
BENCHMARK(plain_mail_10_kib);

const std::string& large_report() {
  static const std::string xml = dmarc_xml(100'000);
  return xml;
}

class Sum final : public RowSink {
 public:
  void row(const DmarcReport&, const DmarcRow& row) override { messages += row.count; }
  std::uint64_t messages = 0;
};

Options large_options(Sum* sum) {
  Options options;
  options.budget.decoded_bytes = 256U << 20U;  // beyond the default, which this report exceeds
  options.budget.ratio = 1000;                 // made by a loop, it packs better than any real one
  options.rows = sum;
  return options;
}

double held_mib() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<double>(info.uordblks + info.hblkhd) / 1048576.0;
}

// Rows one by one; `file` is the report as it comes.
void large_rows(benchmark::State& state, const std::string& file) {
  Decoder decoder;
  Facts facts;
  double before = held_mib();
  double most = 0;
  for (auto _ : state) {
    Sum sum;
    decoder.decode(file, large_options(&sum), facts);
    if (sum.messages != 200'000) state.SkipWithError("not all rows");
    most = std::max(most, held_mib() - before);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(large_report().size() * state.iterations()));
  state.counters["MiB_held"] = most;
}

void dmarc_xml_rows(benchmark::State& state) {
  large_rows(state, large_report());
}
BENCHMARK(dmarc_xml_rows)->Unit(benchmark::kMillisecond);

void dmarc_gzip_rows(benchmark::State& state) {
  static const std::string packed = gzip(large_report());
  large_rows(state, packed);
}
BENCHMARK(dmarc_gzip_rows)->Unit(benchmark::kMillisecond);

void dmarc_xml_kept(benchmark::State& state) {
  Decoder decoder;
  Facts facts;
  double before = held_mib();
  for (auto _ : state) {
    decoder.decode(large_report(), large_options(nullptr), facts);
    if (facts.dmarc.rows.size() != 100'000) state.SkipWithError("not all rows");
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(large_report().size() * state.iterations()));
  state.counters["MiB_held"] = held_mib() - before;
}
BENCHMARK(dmarc_xml_kept)->Unit(benchmark::kMillisecond);

class Nothing final : public XmlHandler {
 public:
  void begin(std::string_view name) override { sum += name.size(); }
  void text(std::string_view text) override { sum += text.size(); }
  void end() override {}
  bool go_on() const override { return true; }
  std::size_t sum = 0;
};

// The reader of XML alone, in the pieces that zlib gives.
void xml_ours(benchmark::State& state) {
  XmlReader reader;
  for (auto _ : state) {
    Nothing nothing;
    reader.begin(nothing, 16);
    const std::string_view xml = large_report();
    for (std::size_t at = 0; at < xml.size(); at += 32'768) reader.feed(xml.substr(at, 32'768));
    if (reader.finish() != XmlError::kNone) state.SkipWithError("not read");
    benchmark::DoNotOptimize(nothing.sum);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(large_report().size() * state.iterations()));
}
BENCHMARK(xml_ours)->Unit(benchmark::kMillisecond);

#ifdef BENCH_EXPAT
void xml_expat(benchmark::State& state) {
  for (auto _ : state) {
    std::size_t sum = 0;
    XML_Parser parser = XML_ParserCreate(nullptr);
    XML_SetUserData(parser, &sum);
    XML_SetElementHandler(
        parser,
        [](void* s, const XML_Char* name, const XML_Char**) {
          *static_cast<std::size_t*>(s) += name[0];
        },
        [](void*, const XML_Char*) {});
    XML_SetCharacterDataHandler(parser, [](void* s, const XML_Char*, int size) {
      *static_cast<std::size_t*>(s) += static_cast<std::size_t>(size);
    });
    const std::string_view xml = large_report();
    for (std::size_t at = 0; at < xml.size(); at += 32'768) {
      const std::string_view piece = xml.substr(at, 32'768);
      const bool last = at + piece.size() == xml.size();
      if (XML_Parse(parser, piece.data(), static_cast<int>(piece.size()), last) ==
          XML_STATUS_ERROR) {
        state.SkipWithError("not read");
      }
    }
    XML_ParserFree(parser);
    benchmark::DoNotOptimize(sum);
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(large_report().size() * state.iterations()));
}
BENCHMARK(xml_expat)->Unit(benchmark::kMillisecond);
#endif

}  // namespace
