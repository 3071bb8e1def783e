// How many connections of a burst find a place when nobody has accepted yet: a listener on loopback
// with the receiver's backlog, which net.core.somaxconn may cut, and as many clients at once.
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/clock.h"
#include "tune/measure.h"

namespace mxring::tune {

namespace {

constexpr std::uint32_t kBurst = 1024;
constexpr std::uint32_t kBurstMin = 64;
constexpr std::uint32_t kSpareDescriptors = 128;
constexpr std::int64_t kWaitNs = 150 * base::kNsPerMs;

class Sockets {
 public:
  Sockets() = default;
  Sockets(const Sockets&) = delete;
  Sockets& operator=(const Sockets&) = delete;
  ~Sockets() {
    for (const pollfd& entry : fds) ::close(entry.fd);
    if (listener >= 0) ::close(listener);
  }
  int listener = -1;
  std::vector<pollfd> fds;
};

// The address the listener was given; the port is 0 when it could not be made.
sockaddr_in listen_on_loopback(Sockets& sockets, int backlog) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  sockets.listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (sockets.listener < 0 || ::bind(sockets.listener, generic, size) != 0 ||
      ::listen(sockets.listener, backlog) != 0 ||
      ::getsockname(sockets.listener, generic, &size) != 0) {
    address.sin_port = 0;
  }
  return address;
}

std::uint32_t count_established(Sockets& sockets) {
  const std::int64_t end = base::read_clocks().mono.ns + kWaitNs;
  std::uint32_t established = 0;
  // A connection that finds no place has its handshake dropped and tries again after a second: what
  // is not there in a moment was turned away.
  while (established < sockets.fds.size()) {
    const std::int64_t left = end - base::read_clocks().mono.ns;
    if (left <= 0) break;
    if (::poll(sockets.fds.data(), sockets.fds.size(), static_cast<int>(left / base::kNsPerMs)) <=
        0) {
      break;
    }
    for (pollfd& entry : sockets.fds) {
      if ((entry.revents & (POLLOUT | POLLERR | POLLHUP)) == 0) continue;
      if ((entry.revents & POLLERR) == 0) ++established;
      entry.events = 0;
      entry.revents = 0;
    }
    // Those settled are asked for nothing more; poll would still report their errors.
    std::erase_if(sockets.fds, [](const pollfd& entry) {
      if (entry.events != 0) return false;
      ::close(entry.fd);
      return true;
    });
  }
  return established;
}

}  // namespace

void measure_burst(const MeasureOptions& options, Measured& out) {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  const rlim_t spare = limit.rlim_cur > kSpareDescriptors ? limit.rlim_cur - kSpareDescriptors : 0;
  const auto burst = static_cast<std::uint32_t>(std::min<rlim_t>({kBurst, options.backlog, spare}));
  if (burst < kBurstMin) {
    out.burst_skipped = "too few descriptors to try with";
    return;
  }
  Sockets sockets;
  sockaddr_in address = listen_on_loopback(sockets, static_cast<int>(options.backlog));
  if (address.sin_port == 0) {
    out.burst_skipped = fmt::format("no listener on loopback: {}", std::strerror(errno));
    return;
  }
  for (std::uint32_t i = 0; i < burst; ++i) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) break;
    sockets.fds.push_back({fd, POLLOUT, 0});
    if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
        errno != EINPROGRESS) {
      break;
    }
  }
  out.burst = static_cast<std::uint32_t>(sockets.fds.size());
  out.burst_taken = count_established(sockets);
}

}  // namespace mxring::tune
