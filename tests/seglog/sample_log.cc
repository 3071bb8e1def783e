// Writes the log that the consumer of the installed package reads: 12 messages with known sizes.
//   seglog_sample_log DIRECTORY
#include <cstdio>
#include <string>

#include "base/crc32c.h"
#include "seglog/metadata.h"
#include "seglog/writer.h"

int main(int argc, char** argv) {
  using namespace mxring::seglog;
  if (argc != 2) return 2;
  WriterOptions options;
  options.directory = argv[1];
  options.segment_bytes = 64 << 10;
  options.record_bytes_max = 16 << 10;
  options.sync = Sync::kNone;  // the test is about reading, wherever the build folder lies
  auto writer = Writer::open(options);
  if (!writer) {
    std::fprintf(stderr, "%s\n", writer.error().message.c_str());
    return 1;
  }
  for (std::size_t i = 0; i < 12; ++i) {
    const std::string message = "Subject: x\r\n\r\n" + std::string(i * 1000, 'm') + "\r\n";
    std::string metadata;
    MetadataWriter out(metadata);
    out.text(MetadataTag::kMailFrom, "sender-" + std::to_string(i) + "@example.net");
    out.recipient("one@example.org", "", 0);
    out.recipient("two@example.org", "", 0);
    out.text(MetadataTag::kTrace, "Received: here\r\n");
    const iovec slice{const_cast<char*>(message.data()), message.size()};
    Append record;
    record.message = {&slice, 1};
    record.message_bytes = message.size();
    record.message_crc32c = mxring::base::crc32c(0, message.data(), message.size());
    record.metadata = metadata;
    if (!writer->commit({&record, 1})) return 1;
  }
  return 0;
}
