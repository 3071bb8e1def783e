// The connections of the administration's listener: HTTP/1.0, one request each, over TCP or a Unix
// socket. What is answered is the handler's affair (admin_pages).
//
// One thread polls all of them, so that a client that is silent, or reads slowly, or dribbles,
// holds up nobody: a request has two seconds from the connection to its last byte, an answer ten
// from its first to its last. There are kClients places; when all are taken, the newcomer gets the
// place of the one that has waited longest without having asked, and only then of one that reads.
// An answer may go on as a stream; its ten seconds begin anew whenever the client has read all that
// there was.
//
// It must never be able to disturb a shard: the thread takes no lock that a shard waits for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "net/listener.h"
#include "net/unix_listener.h"

namespace mxring::server {

// Views into the request, good until the handler returns.
struct AdminRequest {
  std::string_view method;
  std::string_view path;           // without the query
  std::string_view query;          // after '?', not decoded; "" without one
  std::string_view host;           // of the Host field; "" without one
  std::string_view authorization;  // of the Authorization field
  bool over_unix = false;
};

// More of an answer's body, when it does not exist yet. Asked again and again, a few dozen times a
// second; owned by the connection, so that it ends with it.
class AdminStream {
 public:
  virtual ~AdminStream() = default;
  // Appends what there is by now. False: that was the end.
  virtual bool pull(std::string& out) = 0;
};

struct AdminAnswer {
  std::string_view status = "200 OK";
  std::string_view type = "text/plain";
  std::string body = {};                     // left out for HEAD, its length is not
  std::string more_fields = {};              // "Name: value\r\n", any number of them
  std::shared_ptr<AdminStream> stream = {};  // what follows the body, which then has no length
};

class Admin {
 public:
  using Handler = std::function<AdminAnswer(const AdminRequest&)>;  // on the admin's thread

  // Either "ADDR:PORT" or "unix:PATH", bound.
  struct Listening {
    std::optional<net::Listener> tcp;
    std::optional<net::UnixListener> local;
    int fd() const { return tcp ? tcp->fd() : local->fd(); }
    std::string name() const;  // as it is configured, port 0 resolved
  };
  struct Patience {
    std::int64_t request_ns = 2 * base::kNsPerSecond;
    std::int64_t answer_ns = 10 * base::kNsPerSecond;
  };
  static constexpr std::size_t kClients = 64;
  static constexpr std::size_t kRequestBytesMax = 8192;
  static constexpr std::int64_t kPullEveryNs = 50 * base::kNsPerMs;

  static std::expected<Listening, std::string> listen(std::string_view address);

  // The listener's clients are served from now on.
  Admin(Listening listening, Handler handler)
      : Admin(std::move(listening), std::move(handler), {}) {}
  Admin(Listening listening, Handler handler, Patience patience);
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;
  ~Admin();

  std::uint16_t port() const { return listening_.tcp ? listening_.tcp->endpoint().port : 0; }

 private:
  enum class State : std::uint8_t { kFree, kAsking, kAnswering, kClosing };
  struct Client {
    State state = State::kFree;
    int fd = -1;
    base::MonoTime since;  // came
    base::MonoTime deadline;
    std::string request;
    std::string answer;
    std::size_t sent = 0;
    std::shared_ptr<AdminStream> stream;  // more of the answer is to come
    bool gone = false;
  };

  void run();
  int wait();
  void act(base::MonoTime now);
  void accept_waiting(base::MonoTime now);
  Client& place_for_newcomer();
  void read_request(Client& client, base::MonoTime now);
  void answer(Client& client, base::MonoTime now);
  void send_answer(Client& client, base::MonoTime now);
  bool send_what_is_there(Client& client);
  void discard(Client& client);
  void enter(Client& client, State state, base::MonoTime deadline);
  void end(Client& client);

  Listening listening_;
  Handler handler_;
  const Patience patience_;
  int stop_fd_ = -1;  // an eventfd: readable once the thread shall end
  std::vector<Client> clients_{kClients};
  std::thread thread_;
};

}  // namespace mxring::server
