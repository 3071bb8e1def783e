// A program of someone else, in C++20: it reads for a group, in batches, and commits.
//
//   group LOG GROUP RECORDS        that many records, printed, and committed
//   group LOG GROUP RECORDS poll   the same, waiting with poll for what is not there yet
#include <mxring/consumer.h>
#include <poll.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

static_assert(MXRING_VERSION_NUMBER >= 1000);

namespace {

int fail(const mxring::ConsumerError& error) {
  std::fprintf(stderr, "%s\n", error.message.c_str());
  return 1;
}

void print(const mxring::Entry& entry) {
  if (entry.gap) {
    std::printf("gap %llu %llu %s\n", static_cast<unsigned long long>(entry.gap->first),
                static_cast<unsigned long long>(entry.gap->next),
                entry.gap->why == mxring::GapReason::kRemoved ? "removed" : "damaged");
    return;
  }
  const mxring::Mail& mail = entry.mail;
  std::printf("%s %s %zu %zu", mail.id().c_str(), std::string(mail.mail_from).c_str(),
              mail.message.size(), mail.delivered().size());
  for (const auto& recipient : mail.rcpt_to) {
    std::printf(" %s", std::string(recipient.address).c_str());
  }
  if (const auto spf = mail.spf()) {
    std::printf(" spf=%d %s", static_cast<int>(spf->result), spf->domain.c_str());
  }
  if (const auto dmarc = mail.dmarc()) std::printf(" dmarc=%s", dmarc->policy.c_str());
  std::printf(" dkim=%zu\n", mail.dkim().size());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  auto consumer = mxring::Consumer::open(argv[1], argv[2]);
  if (!consumer) return fail(consumer.error());
  const bool polls = argc > 4 && std::strcmp(argv[4], "poll") == 0;
  auto left = static_cast<std::size_t>(std::atoi(argv[3]));
  std::vector<mxring::Batch> kept;  // batches own their bytes
  while (left > 0) {
    auto batch = consumer->next_batch(left < 3 ? left : 3, 1 << 20);
    if (!batch) return fail(batch.error());
    left -= batch->size();
    if (auto done = consumer->commit(batch->next()); !done) return fail(done.error());
    if (batch->empty() && polls) {
      pollfd wait{consumer->event_fd(), POLLIN, 0};
      if (poll(&wait, 1, 20'000) != 1) return 3;
    } else if (batch->empty() && !consumer->wait(std::chrono::milliseconds(20'000))) {
      return 3;
    }
    kept.push_back(std::move(*batch));
  }
  if (auto done = consumer->flush(); !done) return fail(done.error());
  mxring::Consumer moved = std::move(*consumer);
  for (const mxring::Batch& batch : kept) {
    for (const mxring::Entry& entry : batch) print(entry);
  }
  std::printf("%llu of %llu\n", static_cast<unsigned long long>(moved.committed()),
              static_cast<unsigned long long>(moved.end()));
  return 0;
}
