// A resolver for commands and tests: the client with a poll(2) loop around it. Asks any number of
// questions at once and returns when all of them have their answer.
//
// Thread: one; it blocks, for no longer than the client's timeout. Never on a shard.
#pragma once

#include <poll.h>

#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dns/client.h"

namespace mxring::dns {

class BlockingResolver final : private SocketWatcher {
 public:
  static std::expected<std::unique_ptr<BlockingResolver>, std::string> create(
      const ClientOptions& options, ResolverListener* listener = nullptr);

  AnswerPtr ask(const Question& question);
  // In the order of the questions.
  std::vector<AnswerPtr> ask_all(std::span<const Question> questions);
  // Looks after the client's sockets and timers for at most this long, once.
  void wait(std::int64_t wait_ns);
  Client& client() { return *client_; }

 private:
  BlockingResolver() = default;
  void watch(int fd, bool readable, bool writable) override;

  std::vector<pollfd> sockets_;
  std::unique_ptr<Client> client_;
};

}  // namespace mxring::dns
