// Sockets in memory, and the table of descriptors. A stream has two halves with small windows; its
// near end is a descriptor of the program under test, its far end an actor of the simulation: a
// client, or the resolver. Whatever changes wakes the engines and whoever polls.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/sim/world.h"

namespace mxring::sim {

constexpr int kFirstDescriptor = 20'000;

struct OpenFile;

struct Half {
  std::string bytes;
  std::size_t window = 64 * 1024;
  bool ended = false;  // nothing more will be written

  std::size_t room() const { return bytes.size() >= window ? 0 : window - bytes.size(); }
};

struct Stream {
  std::uint64_t number = 0;
  Half to_near;  // what the program under test will read
  Half to_far;
  sockaddr_storage peer{};
  sockaddr_storage local{};
  bool reset = false;  // both ends know
  bool near_closed = false;
  bool far_closed = false;
  bool connected = true;
  int error = 0;                    // of connecting
  std::function<void()> on_change;  // for the far end
};
using StreamPtr = std::shared_ptr<Stream>;

struct Datagrams {
  sockaddr_storage peer{};
  std::vector<std::string> waiting;
};

struct Listening {
  sockaddr_storage local{};
  bool listens = false;
  std::vector<StreamPtr> backlog;
};

struct EventCount {
  std::uint64_t value = 0;
};

struct Descriptor {
  int process = 0;
  bool close_on_exec = true;
  std::shared_ptr<OpenFile> file;
  StreamPtr stream;
  std::shared_ptr<Datagrams> datagrams;
  std::shared_ptr<Listening> listening;
  std::shared_ptr<EventCount> event;
  bool random = false;  // /dev/urandom
  int family = AF_INET;
};

class Net {
 public:
  explicit Net(World& world) : world_(world) {}

  // ---- descriptors
  int add(Descriptor descriptor);
  Descriptor* find(int fd);
  bool close(int fd);
  // A process has ended: its descriptors are closed. Gone without a word when the power went.
  void close_all_of(int process, bool silently);
  std::string open_in(int process) const;  // what is open, in words
  std::vector<int> descriptors_of(int process) const;
  int descriptors_max = 4096;  // EMFILE beyond

  // ---- for the far ends
  // Null when nobody listens there.
  StreamPtr connect(std::uint16_t port, const sockaddr_storage& from);
  std::size_t write(const StreamPtr& stream, std::string_view bytes);  // what the window takes
  std::string read(const StreamPtr& stream, std::size_t max);
  void end(const StreamPtr& stream);  // half-close
  void reset(const StreamPtr& stream);
  // A datagram, or a connection, to the resolver.
  std::function<void(std::shared_ptr<Datagrams> from, std::string bytes)> on_query;
  std::function<void(StreamPtr stream)> on_resolver_stream;

  // ---- for the engine and poll()
  std::uint32_t ready(const Descriptor& descriptor) const;  // POLL*
  void changed();
  void changed(const StreamPtr& stream);
  std::vector<SimEngine*> engines;

  World& world() { return world_; }
  std::size_t window_max = 64 * 1024;
  std::vector<StreamPtr> streams;

 private:
  World& world_;
  std::map<int, Descriptor> table_;
  std::uint64_t next_stream_ = 1;
};

}  // namespace mxring::sim
