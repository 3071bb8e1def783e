// Sockets and event counters.
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstring>
#include <string>
#include <utility>

#include "tests/sim/interpose.h"

using namespace mxring::sim;

namespace {

void hand_over(const sockaddr_storage& from, sockaddr* to, socklen_t* size) {
  const auto whole = static_cast<socklen_t>(from.ss_family == AF_INET6 ? sizeof(sockaddr_in6)
                                                                       : sizeof(sockaddr_in));
  std::memcpy(to, &from, std::min(*size, whole));
  *size = whole;
}

void take_over(const sockaddr* from, socklen_t size, sockaddr_storage& to) {
  std::memcpy(&to, from, std::min<std::size_t>(size, sizeof to));
}

ssize_t send_to(Descriptor& descriptor, std::string_view bytes) {
  Net& net = World::current()->net();
  if (descriptor.datagrams != nullptr) {
    if (net.on_query) net.on_query(descriptor.datagrams, std::string(bytes));
    return static_cast<ssize_t>(bytes.size());
  }
  if (descriptor.stream == nullptr) return -ENOTCONN;
  Stream& stream = *descriptor.stream;
  if (!stream.connected) return -EAGAIN;
  if (stream.reset || stream.far_closed || stream.to_far.ended) return -EPIPE;
  const std::size_t taken = std::min(bytes.size(), stream.to_far.room());
  if (taken == 0) return -EAGAIN;
  stream.to_far.bytes.append(bytes.substr(0, taken));
  net.changed(descriptor.stream);
  return static_cast<ssize_t>(taken);
}

ssize_t receive_from(Descriptor& descriptor, char* to, std::size_t size, int flags) {
  Net& net = World::current()->net();
  if (descriptor.datagrams != nullptr) {
    auto& waiting = descriptor.datagrams->waiting;
    if (waiting.empty()) return -EAGAIN;
    const std::string bytes = std::move(waiting.front());
    waiting.erase(waiting.begin());
    std::memcpy(to, bytes.data(), std::min(size, bytes.size()));
    return static_cast<ssize_t>(std::min(size, bytes.size()));
  }
  if (descriptor.stream == nullptr) return -ENOTCONN;
  Stream& stream = *descriptor.stream;
  if (stream.reset) return -ECONNRESET;
  std::string& bytes = stream.to_near.bytes;
  if (bytes.empty()) return stream.to_near.ended ? 0 : -EAGAIN;
  const std::size_t taken = std::min(size, bytes.size());
  std::memcpy(to, bytes.data(), taken);
  if ((flags & MSG_PEEK) == 0) {
    bytes.erase(0, taken);
    net.changed(descriptor.stream);
  }
  return static_cast<ssize_t>(taken);
}

}  // namespace

namespace mxring::sim {

// For read(2), write(2) and close(2), which are in interpose_files.cc.
ssize_t read_descriptor(Descriptor& descriptor, char* to, std::size_t size) {
  if (descriptor.event == nullptr) return receive_from(descriptor, to, size, 0);
  if (descriptor.event->value == 0) return -EAGAIN;
  std::memcpy(to, &descriptor.event->value, sizeof(std::uint64_t));
  descriptor.event->value = 0;
  return sizeof(std::uint64_t);
}

ssize_t write_descriptor(Descriptor& descriptor, std::string_view bytes) {
  if (descriptor.event == nullptr) return send_to(descriptor, bytes);
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  descriptor.event->value += value;
  World::current()->net().changed();
  World::current()->maybe_yield(200);
  return sizeof value;
}

}  // namespace mxring::sim

extern "C" {

int socket(int family, int type, int protocol) noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(socket)(family, type, protocol);
  Descriptor made;
  made.family = family;
  const int kind = type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (kind == SOCK_DGRAM) made.datagrams = std::make_shared<Datagrams>();
  return World::current()->net().add(std::move(made));
}

int bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(bind)(fd, address, size);
  if (descriptor->datagrams != nullptr) return 0;
  descriptor->listening = std::make_shared<Listening>();
  take_over(address, size, descriptor->listening->local);
  return 0;
}

int listen(int fd, int backlog) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(listen)(fd, backlog);
  descriptor->listening->listens = true;
  return 0;
}

int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(getsockname)(fd, address, size);
  sockaddr_storage any{};
  any.ss_family = static_cast<sa_family_t>(descriptor->family);
  const bool listens = descriptor->listening != nullptr;
  hand_over(listens ? descriptor->listening->local
                    : (descriptor->stream ? descriptor->stream->local : any),
            address, size);
  return 0;
}

int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(getpeername)(fd, address, size);
  if (descriptor->stream == nullptr || descriptor->stream->reset) return answer(-ENOTCONN);
  hand_over(descriptor->stream->peer, address, size);
  return 0;
}

int setsockopt(int fd, int level, int name, const void* value, socklen_t size) noexcept {
  if (simulated(fd) != nullptr) return 0;
  return MXRING_SIM_REAL(setsockopt)(fd, level, name, value, size);
}

int getsockopt(int fd, int level, int name, void* value, socklen_t* size) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(getsockopt)(fd, level, name, value, size);
  int result = 0;
  if (name == SO_ACCEPTCONN) result = descriptor->listening != nullptr ? 1 : 0;
  if (name == SO_ERROR && descriptor->stream != nullptr) result = descriptor->stream->error;
  std::memcpy(value, &result, std::min<std::size_t>(*size, sizeof result));
  return 0;
}

int connect(int fd, const sockaddr* address, socklen_t size) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(connect)(fd, address, size);
  if (descriptor->datagrams != nullptr) {
    take_over(address, size, descriptor->datagrams->peer);
    return 0;
  }
  Net& net = World::current()->net();
  auto stream = std::make_shared<Stream>();
  take_over(address, size, stream->peer);
  stream->local.ss_family = static_cast<sa_family_t>(descriptor->family);
  stream->connected = false;
  descriptor->stream = stream;
  World::current()->after(World::current()->dice().between(100 * kUs, 5 * kMs), [&net, stream] {
    if (stream->near_closed) return;
    stream->connected = true;
    if (net.on_resolver_stream) net.on_resolver_stream(stream);
    net.changed();
  });
  return answer(-EINPROGRESS);
}

int shutdown(int fd, int how) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(shutdown)(fd, how);
  if (descriptor->stream == nullptr) return answer(-ENOTCONN);
  if (how != SHUT_RD) descriptor->stream->to_far.ended = true;
  World::current()->net().changed(descriptor->stream);
  return 0;
}

ssize_t sendto(int fd, const void* bytes, size_t size, int flags, const sockaddr* to,
               socklen_t to_size) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(sendto)(fd, bytes, size, flags, to, to_size);
  return answer(send_to(*descriptor, {static_cast<const char*>(bytes), size}));
}

ssize_t send(int fd, const void* bytes, size_t size, int flags) {
  if (simulated(fd) == nullptr) return MXRING_SIM_REAL(send)(fd, bytes, size, flags);
  return sendto(fd, bytes, size, flags, nullptr, 0);
}

ssize_t recvfrom(int fd, void* bytes, size_t size, int flags, sockaddr* from,
                 socklen_t* from_size) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) {
    return MXRING_SIM_REAL(recvfrom)(fd, bytes, size, flags, from, from_size);
  }
  if (from != nullptr && descriptor->datagrams != nullptr) {
    hand_over(descriptor->datagrams->peer, from, from_size);
  }
  return answer(receive_from(*descriptor, static_cast<char*>(bytes), size, flags));
}

ssize_t recv(int fd, void* bytes, size_t size, int flags) {
  if (simulated(fd) == nullptr) return MXRING_SIM_REAL(recv)(fd, bytes, size, flags);
  return recvfrom(fd, bytes, size, flags, nullptr, nullptr);
}

ssize_t __recv_chk(int fd, void* bytes, size_t size, size_t, int flags) {
  return recv(fd, bytes, size, flags);
}

ssize_t __recvfrom_chk(int fd, void* bytes, size_t size, size_t, int flags, sockaddr* from,
                       socklen_t* from_size) {
  return recvfrom(fd, bytes, size, flags, from, from_size);
}

ssize_t writev(int fd, const iovec* slices, int count) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(writev)(fd, slices, count);
  std::string whole;
  for (int i = 0; i < count; ++i) {
    whole.append(static_cast<const char*>(slices[i].iov_base), slices[i].iov_len);
  }
  return answer(send_to(*descriptor, whole));
}

int eventfd(unsigned initial, int flags) noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(eventfd)(initial, flags);
  Descriptor made;
  made.event = std::make_shared<EventCount>(EventCount{initial});
  return World::current()->net().add(std::move(made));
}

int poll(pollfd* entries, nfds_t count, int timeout_ms) {
  bool ours = World::in_fiber();
  for (nfds_t i = 0; ours && i < count; ++i) ours = simulated(entries[i].fd) != nullptr;
  if (!ours) return MXRING_SIM_REAL(poll)(entries, count, timeout_ms);
  World& world = *World::current();
  const Ns deadline = timeout_ms < 0 ? -1 : world.now() + timeout_ms * kMs;
  for (;;) {
    int ready = 0;
    for (nfds_t i = 0; i < count; ++i) {
      const std::uint32_t events = world.net().ready(*simulated(entries[i].fd));
      entries[i].revents = static_cast<short>(
          events & (static_cast<std::uint32_t>(entries[i].events) | POLLERR | POLLHUP));
      if (entries[i].revents != 0) ++ready;
    }
    if (ready > 0 || timeout_ms == 0) return ready;
    if (deadline >= 0 && world.now() >= deadline) return 0;
    world.wait_on(&world.net(), deadline);
  }
}

}  // extern "C"
