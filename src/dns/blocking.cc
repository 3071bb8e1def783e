#include "dns/blocking.h"

#include <algorithm>
#include <cerrno>
#include <deque>

namespace mxring::dns {

namespace {

struct OneAnswer final : Waiter {
  AnswerPtr answer;
  void on_answer(const Question&, const AnswerPtr& arrived) override { answer = arrived; }
};

}  // namespace

std::expected<std::unique_ptr<BlockingResolver>, std::string> BlockingResolver::create(
    const ClientOptions& options, ResolverListener* listener) {
  std::unique_ptr<BlockingResolver> resolver(new BlockingResolver);
  auto client = Client::create(options, *resolver, listener);
  if (!client) return std::unexpected(client.error());
  resolver->client_ = std::move(*client);
  return resolver;
}

void BlockingResolver::watch(int fd, bool readable, bool writable) {
  std::erase_if(sockets_, [&](const pollfd& socket) { return socket.fd == fd; });
  if (!readable && !writable) return;
  const auto events = static_cast<short>((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));
  sockets_.push_back({fd, events, 0});
}

AnswerPtr BlockingResolver::ask(const Question& question) {
  return ask_all({&question, 1}).front();
}

std::vector<AnswerPtr> BlockingResolver::ask_all(std::span<const Question> questions) {
  std::deque<OneAnswer> waiters;
  for (const Question& question : questions) {
    OneAnswer& waiter = waiters.emplace_back();
    waiter.answer = client_->ask(question, waiter, base::read_clocks().mono);
  }
  const auto waiting = [&] {
    return std::ranges::any_of(waiters, [](const OneAnswer& w) { return w.answer == nullptr; });
  };
  // The longest the client ever waits between two looks at its own timers.
  constexpr std::int64_t kTurnNs = 100 * base::kNsPerMs;
  while (waiting()) wait(kTurnNs);
  std::vector<AnswerPtr> answers;
  for (OneAnswer& waiter : waiters) answers.push_back(std::move(waiter.answer));
  return answers;
}

void BlockingResolver::wait(std::int64_t wait_ns) {
  const base::MonoTime before = base::read_clocks().mono;
  const base::MonoTime end = std::min(client_->next_timer(), before + wait_ns);
  const std::int64_t wait_ms = end <= before ? 0 : (end - before) / base::kNsPerMs + 1;
  std::vector<pollfd> ready = sockets_;
  const int count = ::poll(ready.data(), ready.size(), static_cast<int>(wait_ms));
  const base::MonoTime now = base::read_clocks().mono;
  for (const pollfd& socket : ready) {
    if (count <= 0 || socket.revents == 0) continue;
    // An error or the other end's goodbye is found by reading.
    const bool readable = (socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
    client_->on_ready(socket.fd, readable, (socket.revents & POLLOUT) != 0, now);
  }
  client_->on_timer(now);
}

}  // namespace mxring::dns
