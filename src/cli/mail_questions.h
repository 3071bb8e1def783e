// What the page of the administration asks about mail, answered with the code of `log find`:
//
//   /search?recipient=&sender=&id=&header_from=&message_id=&client=&refused=1
//   /message?offset=N    one message's story
//
// The newest come first, kFoundMax of them; a look takes kPatience at most and says how far it
// went.
//
// Thread: one at a time (server/mail_desk.h). Failure: {"error": ...}.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace mxring::cli {

class MailQuestions {
 public:
  static constexpr std::size_t kFoundMax = 100;
  static constexpr std::chrono::seconds kPatience{10};

  explicit MailQuestions(std::string log) : log_(std::move(log)) {}
  std::string operator()(std::string_view path, std::string_view query,
                         const std::atomic<bool>& cancelled) const;

 private:
  std::string search(std::string_view query, const std::atomic<bool>& cancelled) const;
  std::string story(std::string_view query) const;

  std::string log_;
};

}  // namespace mxring::cli
