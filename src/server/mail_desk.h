// Where the page asks about mail: one question after the other, on a thread of its own, so that a
// long look through the log holds up neither metrics nor health checks. How a question is answered
// is the business of whoever starts it (cli/mail_questions, the code of `log find`).
//
// Threads: its own; ask() the administration's. At most kWaiting questions wait; one whose client
// has gone is given up.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "server/admin.h"

namespace mxring::server {

class MailDesk {
 public:
  static constexpr std::size_t kWaiting = 8;
  // JSON. Looks at `cancelled` now and then.
  using Answer = std::function<std::string(std::string_view path, std::string_view query,
                                           const std::atomic<bool>& cancelled)>;

  explicit MailDesk(Answer answer);
  MailDesk(const MailDesk&) = delete;
  MailDesk& operator=(const MailDesk&) = delete;
  ~MailDesk();

  AdminAnswer ask(std::string_view path, std::string_view query);

 private:
  struct Question {
    std::string path;
    std::string query;
    std::atomic<bool> cancelled{false};
    std::atomic<bool> done{false};
    std::string answer;
  };
  class Waiting;

  void run();

  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable comes_;
  std::deque<std::shared_ptr<Question>> questions_;
  std::shared_ptr<Question> at_work_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace mxring::server
