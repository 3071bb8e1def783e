// Prints offset, sender, recipients and message size of every record of a log, then of the ones
// from a given offset on.
#include <mxring/log_reader.h>

#include <cstdio>
#include <cstdlib>

namespace {

int print_all(mxring::LogReader& reader) {
  int records = 0;
  while (true) {
    const auto record = reader.next();
    if (!record) {
      std::fprintf(stderr, "%s\n", record.error().message.c_str());
      return -1;
    }
    if (!*record) return records;
    const mxring::Record& mail = **record;
    std::printf("%llu %.*s", static_cast<unsigned long long>(mail.offset),
                static_cast<int>(mail.mail_from.size()), mail.mail_from.data());
    for (const mxring::Recipient& recipient : mail.rcpt_to) {
      std::printf(" %.*s", static_cast<int>(recipient.address.size()), recipient.address.data());
    }
    std::printf(" %zu %zu\n", mail.message.size(), mail.delivered().size());
    ++records;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  auto reader = mxring::LogReader::open(argv[1]);
  if (!reader) {
    std::fprintf(stderr, "%s\n", reader.error().message.c_str());
    return 1;
  }
  const int all = print_all(*reader);
  const mxring::Offset from = std::strtoull(argv[2], nullptr, 10);
  if (!reader->seek(from)) return 1;
  const int some = print_all(*reader);
  std::printf("%d records, %d from %llu on\n", all, some, static_cast<unsigned long long>(from));
  return all >= 0 && some >= 0 ? 0 : 1;
}
