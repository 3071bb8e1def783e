// Recipient files and access files in any bytes: the first byte chooses which, then its lines. What
// was taken is found again, by the line that says it, and a mistake names a line there is.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "server/access.h"
#include "server/recipients.h"

namespace {

using namespace mxring::server;

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.push_back(text.substr(0, end));
    text.remove_prefix(std::min(text.size(), end + 1));
  }
  return lines;
}

void read_recipients(const std::vector<std::string_view>& lines) {
  Recipients all({}, "+");
  std::size_t taken = 0;
  for (const std::string_view line : lines) {
    const auto added = all.add_line(line);
    if (!added) {
      MXRING_ASSERT(added.error().line == taken + 1 && !added.error().what.empty());
      break;
    }
    ++taken;
  }
  for (std::size_t i = 0; i < taken; ++i) {
    // A line that holds nothing but an address serves it.
    if (!Recipients::line_matches(lines[i], lines[i], "+")) continue;
    if (lines[i].find_first_of(" \t#\r") != std::string_view::npos) continue;
    MXRING_ASSERT(all.find(lines[i]) == Recipients::Answer::kServed);
  }
  MXRING_ASSERT(all.find("postmaster") == Recipients::Answer::kServed);
  MXRING_ASSERT(all.memory_bytes() < std::size_t{1} << 24);
}

void read_access(const std::vector<std::string_view>& lines) {
  Access all;
  std::size_t taken = 0;
  for (const std::string_view line : lines) {
    const auto added = all.add_line(line);
    if (!added) {
      MXRING_ASSERT(added.error().line == taken + 1 && !added.error().what.empty());
      break;
    }
    ++taken;
  }
  MXRING_ASSERT(all.rules() <= taken);
  for (const std::string_view line : lines) {
    const AccessQuestion question{.client = mxring::base::IpAddress::v4({192, 0, 2, 1}),
                                  .helo = line,
                                  .sender = line,
                                  .recipient = line};
    const Access::Rule* rule = all.find(question);
    if (rule == nullptr) continue;
    MXRING_ASSERT(rule->line >= 1 && rule->line <= taken);
    for (const char c : all.text(*rule)) MXRING_ASSERT(c >= ' ' && c <= '~');
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::vector<std::string_view> lines = lines_of(text);
  (data[0] & 1) == 0 ? read_recipients(lines) : read_access(lines);
  return 0;
}
