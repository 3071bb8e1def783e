#include "server/mail_desk.h"

#include <pthread.h>

#include <utility>

#include "base/assert.h"

namespace mxring::server {

// The connection's side of a question; it ends with the connection.
class MailDesk::Waiting final : public AdminStream {
 public:
  explicit Waiting(std::shared_ptr<Question> question) : question_(std::move(question)) {}
  ~Waiting() override { question_->cancelled.store(true, std::memory_order_relaxed); }

  bool pull(std::string& out) override {
    // Pairs with the release in run(): the answer is there.
    if (!question_->done.load(std::memory_order_acquire)) return true;
    out += question_->answer;
    return false;
  }

 private:
  const std::shared_ptr<Question> question_;
};

MailDesk::MailDesk(Answer answer) : answer_(std::move(answer)) {
  thread_ = std::thread([this] { run(); });
}

MailDesk::~MailDesk() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    if (at_work_ != nullptr) at_work_->cancelled.store(true, std::memory_order_relaxed);
  }
  comes_.notify_all();
  thread_.join();
}

AdminAnswer MailDesk::ask(std::string_view path, std::string_view query) {
  auto question = std::make_shared<Question>();
  question->path = path;
  question->query = query;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(questions_, [](const std::shared_ptr<Question>& one) {
      return one->cancelled.load(std::memory_order_relaxed);
    });
    if (questions_.size() >= kWaiting) {
      return {.status = "503 Service Unavailable", .body = "too many searches at once\n"};
    }
    questions_.push_back(question);
  }
  comes_.notify_one();
  return {.type = "application/json", .stream = std::make_shared<Waiting>(std::move(question))};
}

void MailDesk::run() {
  pthread_setname_np(pthread_self(), "mxring-search");
  std::unique_lock lock(mutex_);
  for (;;) {
    comes_.wait(lock, [this] { return ending_ || !questions_.empty(); });
    if (ending_) return;
    MXRING_ASSERT(at_work_ == nullptr && questions_.size() <= kWaiting);
    at_work_ = questions_.front();
    questions_.pop_front();
    const std::shared_ptr<Question> question = at_work_;
    lock.unlock();
    if (!question->cancelled.load(std::memory_order_relaxed)) {
      question->answer = answer_(question->path, question->query, question->cancelled);
    }
    question->done.store(true, std::memory_order_release);  // pairs with the load in pull()
    lock.lock();
    at_work_ = nullptr;
  }
}

}  // namespace mxring::server
