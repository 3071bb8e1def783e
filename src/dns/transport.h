// Carries queries to resolvers and brings back what they say: UDP with retries, TCP after
// truncation or when asked for. c-ares does the talking; this is its only user.
//
// Every query sent comes back exactly once, from take_returned(), with its reply or without. That
// is the only place where results appear: c-ares may call back from inside send() or on_ready(),
// and what it brings then waits.
//
// There is one channel for each server, beginning with that one and going on with the others when
// it is silent; the same over TCP, made when needed.
//
// Thread: one. Randomness: base/random.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "dns/message.h"

struct ares_channeldata;

namespace mxring::dns {

class SocketWatcher {
 public:
  virtual void watch(int fd, bool readable, bool writable) = 0;

 protected:
  ~SocketWatcher() = default;
};

class Transport {
 public:
  // One query. Owned by the transport from send() to take_returned(); derive from it to know it
  // again.
  struct Query {
    virtual ~Query() = default;

    Question question;
    std::size_t server = 0;  // asked first
    bool tcp = false;        // from the start
    bool options = true;     // with an EDNS option record

    bool repeats_question = false;  // letter by letter
    bool timed_out = false;         // some server was silent
    std::optional<std::expected<Reply, MessageError>> reply;

   private:
    friend class Transport;
    Transport* transport = nullptr;
    Capitals capitals{};
  };

  // A message says what is wrong: no memory, or no usable server.
  static std::expected<std::unique_ptr<Transport>, std::string> create(
      const std::vector<base::Endpoint>& servers, std::int64_t timeout_ns, SocketWatcher& watcher);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  ~Transport();

  const std::vector<base::Endpoint>& servers() const { return servers_; }
  // Without TCP where that cannot be had; query->tcp says what it is.
  void send(std::unique_ptr<Query> query);
  void on_ready(int fd, bool readable, bool writable);
  // c-ares' own retries.
  void on_tick();

  bool has_returned() const { return !returned_.empty(); }
  // Replaces what is in `out`.
  void take_returned(std::vector<std::unique_ptr<Query>>& out);

 private:
  struct Channel;
  struct Socket {
    int fd;
    Channel* channel;
  };

  Transport(std::int64_t timeout_ns, SocketWatcher& watcher);
  std::expected<void, std::string> open(const std::vector<base::Endpoint>& servers);
  std::expected<std::unique_ptr<Channel>, std::string> open_channel(std::size_t servers, bool tcp);
  Channel* tcp_channel(std::size_t index);
  static void on_reply(void* query, int status, int timeouts, unsigned char* bytes, int size);
  static void on_socket(void* channel, int fd, int readable, int writable);

  SocketWatcher& watcher_;
  std::int64_t timeout_ns_;
  std::vector<base::Endpoint> servers_;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<std::unique_ptr<Channel>> tcp_channels_;
  std::vector<Socket> sockets_;
  std::vector<std::unique_ptr<Query>> returned_;
  std::size_t with_ares_ = 0;  // queries
  bool closing_ = false;
};

}  // namespace mxring::dns
