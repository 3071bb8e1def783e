// Reads for a group with consumer.h: what it was given is in its file before it is committed. A
// digest costs a library; the file has the length of the message and its sum instead.
//
//   follow LOG GROUP FILE
#include <mxring/consumer.h>

#include <chrono>
#include <cstdio>

namespace {

unsigned long long sum(std::string_view text) {  // FNV-1a
  unsigned long long value = 14695981039346656037ULL;
  for (const unsigned char c : text) value = (value ^ c) * 1099511628211ULL;
  return value;
}

int fail(const mxring::ConsumerError& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::FILE* out = std::fopen(argv[3], "a");
  if (out == nullptr) return 2;
  auto consumer = mxring::Consumer::open(argv[1], argv[2]);
  if (!consumer) return fail(consumer.error());
  for (;;) {
    auto batch = consumer->next_batch(50, 1 << 20);
    if (!batch && !batch.error().can_continue) return fail(batch.error());
    if (!batch || batch->empty()) {
      // Also writes what was committed and has waited for its time.
      if (auto done = consumer->commit(consumer->position()); !done) return fail(done.error());
      consumer->wait(std::chrono::milliseconds(100));
      continue;
    }
    for (const mxring::Entry& entry : *batch) {
      if (entry.gap) {
        std::fprintf(stderr, "a gap: %llu to %llu %s\n",
                     static_cast<unsigned long long>(entry.gap->first),
                     static_cast<unsigned long long>(entry.gap->next),
                     entry.gap->why == mxring::GapReason::kRemoved ? "removed" : "damaged");
        return 3;
      }
      const auto now = std::chrono::system_clock::now().time_since_epoch();
      std::fprintf(out, "%s %016llx %.3f\n", entry.mail.id().c_str(), sum(entry.mail.message),
                   std::chrono::duration<double>(now).count());
    }
    if (std::fflush(out) != 0) return 4;
    if (auto done = consumer->commit(batch->next()); !done) return fail(done.error());
  }
}
