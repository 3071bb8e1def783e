// Question: what does a reader of the log cost for a record? For bench/log_cost.py.
// Input: a log, read from its beginning (`read`), or from now on for a group, with every batch
// committed (`follow`), until so many records have come. Unit: microseconds of CPU of the whole
// process, from the first record on; of `follow` also from the record's time of receipt to the
// reader's hands. One JSON object on standard output.
//
//   log_reader read LOG RECORDS
//   log_reader follow LOG GROUP RECORDS
#include <mxring/consumer.h>
#include <mxring/log_reader.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

namespace {

double cpu_us() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

double wall_us() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::micro>(now).count();
}

int fail(const std::string& message) {
  std::fprintf(stderr, "log_reader: %s\n", message.c_str());
  return 1;
}

// The first and the last byte of each message are looked at, so that nothing is left out as unused.
unsigned look(std::string_view message) {
  if (message.empty()) return 0;
  return static_cast<unsigned char>(message.front()) + static_cast<unsigned char>(message.back());
}

int read_all(const char* log, std::size_t records) {
  const double cpu = cpu_us();
  const double begun = wall_us();
  auto reader = mxring::LogReader::open(log);
  if (!reader) return fail(reader.error().message);
  std::size_t count = 0;
  std::size_t bytes = 0;
  unsigned seen = 0;
  while (count < records) {
    auto record = reader->next();
    if (!record) return fail(record.error().message);
    if (!*record) return fail("the log ends before");
    bytes += (*record)->message.size();
    seen += look((*record)->message);
    ++count;
  }
  std::printf("{\"records\":%zu,\"bytes\":%zu,\"cpu_us\":%.1f,\"seconds\":%.6f,\"seen\":%u}\n",
              count, bytes, cpu_us() - cpu, (wall_us() - begun) / 1e6, seen);
  return 0;
}

int follow(const char* log, const char* group, std::size_t records) {
  mxring::ConsumerOptions options;
  options.start = mxring::ConsumerOptions::Start::kLatest;
  options.holds = false;
  auto consumer = mxring::Consumer::open(log, group, options);
  if (!consumer) return fail(consumer.error().message);
  std::puts("ready");
  std::fflush(stdout);
  std::vector<double> waits;
  waits.reserve(records);
  unsigned seen = 0;
  double cpu = 0;
  while (waits.size() < records) {
    auto batch = consumer->next_batch(1000, 16 << 20);
    if (!batch) return fail(batch.error().message);
    if (batch->empty()) {
      consumer->wait(std::chrono::milliseconds(1000));
      continue;
    }
    if (cpu == 0) cpu = cpu_us();
    const double now = wall_us();
    for (const mxring::Entry& entry : *batch) {
      if (entry.gap) return fail("a gap");
      const auto at = entry.mail.received_at.time_since_epoch();
      waits.push_back(now - std::chrono::duration<double, std::micro>(at).count());
      seen += look(entry.mail.message);
    }
    if (auto done = consumer->commit(batch->next()); !done) return fail(done.error().message);
  }
  cpu = cpu_us() - cpu;
  std::sort(waits.begin(), waits.end());
  std::printf(
      "{\"records\":%zu,\"cpu_us\":%.1f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f,\"seen\":%"
      "u}\n",
      waits.size(), cpu, waits[waits.size() / 2], waits[waits.size() * 99 / 100], waits.back(),
      seen);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 4 && std::strcmp(argv[1], "read") == 0)
    return read_all(argv[2], std::strtoull(argv[3], nullptr, 10));
  if (argc == 5 && std::strcmp(argv[1], "follow") == 0)
    return follow(argv[2], argv[3], std::strtoull(argv[4], nullptr, 10));
  std::fputs("log_reader read LOG RECORDS | log_reader follow LOG GROUP RECORDS\n", stderr);
  return 2;
}
