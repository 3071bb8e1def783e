// Must not compile: the record's views would point into a reader that is gone. Compiled once as it
// is (the compiler has to refuse for that reason) and once with NAMED_READER (it has to accept).
#include <mxring/log_reader.h>

int main() {
#ifdef NAMED_READER
  auto reader = mxring::LogReader::open("log");
  return reader->next().has_value() ? 0 : 1;
#else
  return mxring::LogReader::open("log").value().next().has_value() ? 0 : 1;
#endif
}
