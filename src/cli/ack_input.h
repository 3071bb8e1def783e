// Acknowledgements of `log tail --ack`: lines `N` on standard input.
//
// Thread: one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mxring::cli {

class AckInput {
 public:
  // Reads what there is, without waiting when there is something or the end.
  void take();
  // One past the greatest offset acknowledged; nothing when there was none since this was last
  // asked.
  std::optional<std::uint64_t> take_next();
  bool ended() const { return ended_; }
  // A line that is no offset; empty: there was none.
  const std::string& bad_line() const { return bad_line_; }

 private:
  void take_line(std::string line);

  std::string pending_;
  std::string bad_line_;
  std::optional<std::uint64_t> next_;
  bool ended_ = false;
};

}  // namespace mxring::cli
